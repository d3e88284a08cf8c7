"""Charts, each described once and drawn by matplotlib: SVG in the page, PNG in a comparison's plots/.

A chart is a ``Panel``; ``svg`` draws one, ``sheet`` many beside each other.  Nothing here touches pyplot.
"""
