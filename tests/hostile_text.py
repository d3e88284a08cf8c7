"""Text that breaks tables, pages and terminals: by hand, and drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

HOSTILE = (
    *(
        "",
        " ",
        "a,b",
        'say "no"',
        "one\ntwo",
        "one\r\ntwo\rthree",
        "tab\there",
        "|a|b|",
        "`code`",
        "**bold**",
    ),
    *("a\\|b", "\\", "<br>", "</script><script>alert(1)</script>", "<!--", "&lt;&amp;", "[x](javascript:y)"),
    *(
        "=1+1",
        "-2",
        "@SUM(A1)",
        "nul\x00nul",
        "\x1b[2J\x07",
        "\u202eevil\u202c",
        "\u2028\u2029\x85",
        "\ufeff",
    ),
    *(
        "😀👩\u200d👩\u200d👧",
        "e\u0301",
        "日本語",
        "שלום",
        "[bold]x[/bold]",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "a" * 200,
    ),
    *("1e-12", "nan", "None", "x" * 100_000, "'; DROP TABLE runs; --", "\x0b\x0c\x1c", "$\\alpha$", "\uffff"),
)
text = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
"""Any text but half a surrogate pair, which no file holds."""
number = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1e-12, 5e-324, 1.7976931348623157e308, -1e-12, 0.1]),
    st.floats(allow_nan=False, allow_infinity=False),
)
"""A figure as results have it."""
