"""python -m tvrl_jax.data.phantom --kind=cardiac --out=FOLDER --subjects=1000

Exit codes: 0 written (or there already), 2 something to mend, in one sentence;
130 interrupted, the same command goes on.
"""

from absl import app, flags

from tvrl_jax.command import plain_flags
from tvrl_jax.data.phantom.writing import write
from tvrl_jax.errors import INTERRUPTED, UserError, verdict

flags.DEFINE_string("kind", "cardiac", "which phantom: cardiac or retina")
flags.DEFINE_string("out", "", "folder to write, new or empty or a phantom of these settings")
flags.DEFINE_integer("subjects", 1000, "number of subjects")
flags.DEFINE_integer("seed", 0, "equal seeds give equal files")
flags.DEFINE_integer("size", 96, "side of the pictures, pixels, a multiple of 4")
flags.DEFINE_string("nuisance", "mild", "differences between subjects: none, mild or strong")


def main(_) -> None:
    f = flags.FLAGS
    if not f.out:
        plain_flags.stop("--out: name the folder to write.")
    try:
        write(
            f.out,
            kind=f.kind,
            subjects=f.subjects,
            seed=f.seed,
            size=f.size,
            nuisance=f.nuisance,
        )
    except KeyboardInterrupt:
        plain_flags.stop("interrupted; the same command goes on from here.", INTERRUPTED)
    except (UserError, OSError) as error:
        code, sentence = verdict(error)
        if code == 1:
            raise
        plain_flags.stop(sentence, code)


if __name__ == "__main__":
    app.run(main, flags_parser=plain_flags.parse)
