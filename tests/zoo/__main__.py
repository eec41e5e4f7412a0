"""Writes the zoo into a folder: python -m tests.zoo FOLDER"""

import sys
from pathlib import Path

from tests.zoo.write import write_zoo

if len(sys.argv) != 2:
    sys.exit("usage: python -m tests.zoo FOLDER")
for hub_id, folder in write_zoo(Path(sys.argv[1])).items():
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{hub_id:45} {size / 1e6:5.2f} MB  {folder}")
