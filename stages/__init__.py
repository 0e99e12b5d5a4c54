"""The stages of dvc.yaml, one package each, in the order in which data flows. They are made of the library `tuition`."""

import sys

from tuition.forkserver.caller import hand_over

if sys.argv[0] == "-m":  # `python -m stages.<name>` begins here
    hand_over()
