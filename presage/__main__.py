"""python -m presage"""

from presage.codec.cli.main import main

if __name__ == "__main__":
    main()
