"""`python -m napari_deblur.training STAGE ...`."""

from napari_deblur.training.cli import main

if __name__ == "__main__":
    main()
