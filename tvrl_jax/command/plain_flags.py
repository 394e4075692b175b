"""Flags of a command that has no configuration."""

import sys
from typing import NoReturn

from absl import flags


def stop(sentence: str, code: int = 2) -> NoReturn:
    """Ends the command with what the user can mend."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> list[str]:
    """Parses as `app.run` does; what is wrong with the flags ends the command, in one sentence.

    Help, which -h asks for as well, ends with exit code 0."""
    argv = [argv[0], *("--help" if a == "-h" else a for a in argv[1:])]
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        return stop(" ".join(str(error).split()))
    except SystemExit:  # the flags of help have printed it; absl's exit code is that of a failure
        sys.exit(0)
    if len(rest) > 1:
        stop(f'"{rest[1]}" is not a flag; settings are given as --name=value.')
    return rest
