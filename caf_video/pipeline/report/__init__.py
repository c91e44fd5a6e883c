"""run ─► a page that opens by double-click: `stage` makes it, of clips or of images."""
