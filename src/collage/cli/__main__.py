"""`python -m collage.cli`: what `torchrun -m` starts."""

from collage.cli import main

if __name__ == "__main__":
    main()
