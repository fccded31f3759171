"""`python -m glimp_local` is `glimp`."""

from glimp_local.cli import main

if __name__ == "__main__":
    main()
