"""python -m presage"""

from presage.codec.cli import main

if __name__ == "__main__":
    main()
