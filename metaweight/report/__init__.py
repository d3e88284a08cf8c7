"""What a run leaves behind: its folder, its table and its plots."""
