"""From the command line to `main`: flags, help, and one sentence for what the user can mend."""

import importlib
import itertools
import logging
import os
import re
import sys
from collections.abc import Callable

from absl import flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

from tvrl_jax import settings
from tvrl_jax.command import configuration, manual
from tvrl_jax.errors import UserError, first_line, guess, nearest, shorten, verdict
from tvrl_jax.signals import Remembered

FLAGS = flags.FLAGS
OWN = (
    *("config", "workdir", "resume", "jobs", "checkpoint", "step"),
    *("coordinator", "num_processes", "process_id"),
)
FOLDERS = ("workdir", "checkpoint")
KINDS = {bool: "True or False", int: "a whole number", float: "a number", tuple: "a tuple"}


def run(main: Callable[[], None], *, doc: str, required: tuple[str, ...], template: str) -> None:
    """Parses flags, runs `main` and exits: 0 done, 2 the user can mend it, 1 a bug.

    Args:
      main: reads absl flags.
      doc: the script's docstring, which is its help.
      required: flags that must be given.
      template: module whose `get_config()` holds every key that a configuration must have.
    """
    _set_up_logging()
    with Remembered() as interrupt:
        _run(main, doc, required, template, interrupt)


def _run(main, doc: str, required: tuple[str, ...], template: str, interrupt: Remembered) -> None:
    try:
        if any(re.fullmatch(r"--?h(elp\w*)?", argument) for argument in sys.argv[1:]):
            _show(_help(doc, template))
            sys.exit(0)
        _parse(required, template)
        _set_up_jax()
        main()
    except (Exception, KeyboardInterrupt) as error:
        # An import that is interrupted may fail with an error of its own.
        echo = interrupt.seen and not isinstance(error, UserError)
        code, sentence = verdict(KeyboardInterrupt() if echo else error)
        if code == 1:
            raise
        print(f"error: {sentence}" if code == 2 else sentence, file=sys.stderr)
        sys.exit(code)


def _show(text: str) -> None:
    """Prints it, though the reader (`head`, a pager) may have seen enough before its end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _help(doc: str, template: str) -> str:
    module = importlib.import_module(template)
    value = _config_value()
    config = configuration.load(value, module.get_config()) if value else module.get_config()
    said = manual.comments(manual.source_of(module))
    for path in ((value or "").split(":")[0], f"configs/{config.get('method') or ''}.py"):
        if os.path.isfile(path):
            said = {**manual.comments(manual.source_of(path)), **said}
    own = [FLAGS[name] for name in OWN if name in FLAGS]
    lines = [f"  --{flag.name:<12} {flag.help.splitlines()[0]}" for flag in own]
    return manual.text(doc, lines, config, said)


def _parse(required: tuple[str, ...], template: str) -> None:
    value, whole = _config_value(), importlib.import_module(template).get_config()
    if value is None and any(a.startswith("--config.") for a in sys.argv[1:]):
        raise UserError("--config is missing; see --help.")
    loaded = whole if value is None else configuration.load(value, whole)
    try:
        rest = FLAGS(sys.argv)
    except flags.UnrecognizedFlagError as error:
        near = nearest(error.flagname, [name for name in OWN if name in FLAGS])
        raise UserError(f"there is no flag --{shorten(error.flagname)}.{near}") from error
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(_bad_value(error, loaded)) from error
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_key(error, loaded)) from error
    if len(rest) > 1:
        raise UserError(f'"{shorten(rest[1])}" is not understood: write flags as --name=value.')
    missing = [name for name in required if not getattr(FLAGS, name)]
    if missing:
        raise UserError(f"--{missing[0]} is missing; see --help.")
    for name in FOLDERS:
        if name in FLAGS and FLAGS[name].value:  # the shell leaves a ~ behind = as it is
            FLAGS[name].value = os.path.expanduser(FLAGS[name].value)
    _refuse_twice(loaded)
    settings.check_sections(FLAGS.config, whole)
    settings.check_kinds(FLAGS.config, loaded)


def _keys() -> list[str]:
    """The dotted keys that the command line sets, in its order."""
    given = [re.match(r"--?(?:no)?config\.([^=]+)", argument) for argument in sys.argv[1:]]
    return [flag.group(1) for flag in given if flag]


def _refuse_twice(loaded: ConfigDict) -> None:
    """Raises UserError for a tuple that is set twice: absl would join the two."""
    given = _keys()
    for key, value in settings.leaves(loaded):
        if isinstance(value, tuple) and given.count(key) > 1:
            raise UserError(f"--config.{key} is given twice; give it once.")


def _config_value() -> str | None:
    """What follows --config. Raises UserError where it stands twice: absl would read both files."""
    found = []
    for argument, following in itertools.pairwise([*sys.argv[1:], None]):
        if re.fullmatch(r"--?config", argument):
            found.append(following)
        elif given := re.match(r"--?config=", argument):
            found.append(argument[given.end() :])
    if len(found) > 1:
        raise UserError("--config is given twice; give it once.")
    return found[0] if found else None


def _bad_value(error: Exception, loaded: ConfigDict) -> str:
    """One plain sentence for what absl and ml_collections say of a value."""
    line = first_line(error)
    late = re.search(r"Flag --(\S+) is provided after --(\S+) ", line)
    if late:
        return (
            f"--{late[1]} would undo --{late[2]} before it: set the keys of a section one by one."
        )
    early = re.match(r"Found (--config\.[\w.]+)", line)
    if early:
        return f"{early[1]} stands before --config: name the configuration first."
    own = re.match(r"flag --(\w+)=(.*?): .*boolean", line)
    if own:
        return f"--{own[1]}={shorten(own[2])}: say --{own[1]}, or leave it out."
    value = re.match(r"flag --config\.([\w.]+)=(.*?): ", line)
    known = dict(settings.leaves(loaded))
    if not value:
        return f"{shorten(line)}."
    key, given = value[1], shorten(value[2])
    if key not in known:
        return f"--config.{key}={given}: it is a section; set its keys one by one."
    now = known[key]
    example = "" if isinstance(now, bool) else f", such as {now}"
    return f"--config.{key}={given}: it takes {KINDS.get(type(now), 'text')}{example}."


def _unknown_key(error: Exception, loaded: ConfigDict) -> str:
    known = {name for name, _ in settings.leaves(loaded)}
    for key in _keys():
        if key in known or settings.section_of(loaded, key) is not None:
            continue
        hint = guess(key, known)
        section = key.rpartition(".")[0]
        if not hint and settings.section_of(loaded, section) is not None:
            keys = sorted(name for name in known if name.startswith(f"{section}."))
            return f"--config.{key}: there is no such key. Known: {', '.join(keys)}."
        return f"--config.{shorten(key)}: there is no such key.{hint or ' See --help.'}"
    return f"--config: {shorten(first_line(error))}."


def _set_up_logging() -> None:
    """Our own sentences on stderr; of the libraries' (Orbax writes dozens a save) only warnings."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("tvrl_jax")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _set_up_jax() -> None:
    """A compilation cache that outlives the process, as the configuration says."""
    cache = FLAGS.config.log.compilation_cache if "log" in FLAGS.config else ""
    if cache:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
