"""`python -m zfviz.cli`."""

from zfviz.cli.main import main

main()
