"""The machine-learning backend of Label Studio, from the shell.

python -m incontext.page.label_studio_backend my.task IMAGES
"""

from pathlib import Path
from typing import Annotated

import typer

from megamed.command_line import ending_well
from megamed.extras import require


@ending_well
def main(
    task: Annotated[Path, typer.Argument(help="File of a saved task.")],
    images: Annotated[Path, typer.Argument(help="Folder of the images of the project.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 127.0.0.1 is reached from this machine alone.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 9090,
) -> None:
    """Predict for Label Studio by a saved task."""
    require("page", "The backend of Label Studio", "fastapi", "uvicorn")
    import uvicorn

    from incontext.folders.segmenter_options import SegmenterOptions
    from incontext.page.label_studio_server import build_backend

    uvicorn.run(build_backend(SegmenterOptions(task).open(), images), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
