"""``python -m napari_deblur.cli`` for where the script is not on the path."""

from napari_deblur.cli import main

main()
