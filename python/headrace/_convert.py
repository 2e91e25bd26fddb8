"""plan, measure and convert: a checkpoint in one format and type becomes a new file in another."""

from __future__ import annotations

from . import _core, _progress
from ._core import CancelToken, ConvertReport, Plan
from ._errors import refuse
from ._options import plain
from ._sources import inputs, location

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._types import DType, Fetch, OnProgress, Path, Source


def plan(
    source: Source,
    output: Path,
    *,
    to: str | None = None,
    type: DType | None = None,
    rules: str | Sequence[str] | Mapping[str, DType] | None = None,
    rules_file: Path | Sequence[Path] | None = None,
    tensor_type_rules: str | None = None,
    profile: Path | None = None,
    for_: Path | None = None,
    recipe: str | None = None,
    pure: bool = False,
    output_tensor_type: DType | None = None,
    token_embedding_type: DType | None = None,
    leave_output_tensor: bool = False,
    allow_requantize: bool = False,
    component: str | None = None,
    select: str | Sequence[str] | None = None,
    drop: str | Sequence[str] | None = None,
    strip_prefix: str | Sequence[str] | None = None,
    rename: str | Sequence[str] | Mapping[str, str] | None = None,
    prefix: str | None = None,
    split: str | Sequence[str] | Mapping[str, Sequence[str] | Mapping[str, int]] | None = None,
    concat: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    prefer: str | None = None,
    prune_layers: str | int | Sequence[int] | None = None,
    override_kv: str | Sequence[str] | Mapping[str, str | int | float | bool] | None = None,
    imatrix: Path | Sequence[Path] | None = None,
    include_weights: str | Sequence[str] | None = None,
    exclude_weights: str | Sequence[str] | None = None,
    architecture: str | None = None,
    nonfinite: str | None = None,
    measure: bool = False,
    shard_size: int | str | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    force: bool = False,
    torch_key: str | None = None,
    variant: str | None = None,
    headers: Mapping[str, str] | Sequence[str] | None = None,
    connections: int | None = None,
    fetch: Fetch | None = None,
    weight_path_prefix: Path | None = None,
    weight_url_converter: Callable[[str], Path] | None = None,
    cancel: CancelToken | None = None,
) -> Plan:
    """Decides what a conversion will do, tensor by tensor, from headers alone: reads no tensor, writes nothing.

    Takes what convert() takes and raises what it raises before any work. ``cancel`` ends the opening of the inputs.

        >>> plan = headrace.plan("model.safetensors", "model.gguf", type="q8_0")
        >>> plan["blocks.0.weight"].to
        'Q8_0'
        >>> report = headrace.convert(plan)
    """
    given = dict(locals())  # every keyword by its name, so that none is written a third time
    return _plan(given)


def measure(plan: Plan, *, progress: OnProgress | None = None,
            cancel: CancelToken | None = None) -> Plan:
    """Looks at the data of the tensors that wait for it (a rule bounds their error) and gives the plan in which none
    waits any more; a plan in which none does comes back as it is. convert() looks on its own.

    ``progress`` as for convert(). Raises IoError, BudgetError, CancelledError; UnsupportedError for a stream, whose
    bytes come only once.
    """
    return _core.measure(plan, _progress.callback(progress), cancel)


def convert(
    source: Source | Plan,
    output: Path | None = None,
    *,
    to: str | None = None,
    type: DType | None = None,
    rules: str | Sequence[str] | Mapping[str, DType] | None = None,
    rules_file: Path | Sequence[Path] | None = None,
    tensor_type_rules: str | None = None,
    profile: Path | None = None,
    for_: Path | None = None,
    recipe: str | None = None,
    pure: bool = False,
    output_tensor_type: DType | None = None,
    token_embedding_type: DType | None = None,
    leave_output_tensor: bool = False,
    allow_requantize: bool = False,
    component: str | None = None,
    select: str | Sequence[str] | None = None,
    drop: str | Sequence[str] | None = None,
    strip_prefix: str | Sequence[str] | None = None,
    rename: str | Sequence[str] | Mapping[str, str] | None = None,
    prefix: str | None = None,
    split: str | Sequence[str] | Mapping[str, Sequence[str] | Mapping[str, int]] | None = None,
    concat: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    prefer: str | None = None,
    prune_layers: str | int | Sequence[int] | None = None,
    override_kv: str | Sequence[str] | Mapping[str, str | int | float | bool] | None = None,
    imatrix: Path | Sequence[Path] | None = None,
    include_weights: str | Sequence[str] | None = None,
    exclude_weights: str | Sequence[str] | None = None,
    architecture: str | None = None,
    nonfinite: str | None = None,
    measure: bool = False,
    shard_size: int | str | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    force: bool = False,
    torch_key: str | None = None,
    variant: str | None = None,
    headers: Mapping[str, str] | Sequence[str] | None = None,
    connections: int | None = None,
    fetch: Fetch | None = None,
    weight_path_prefix: Path | None = None,
    weight_url_converter: Callable[[str], Path] | None = None,
    progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> ConvertReport:
    """Writes a checkpoint as another format, in other types, under other names; within a set amount of memory.

        >>> report = headrace.convert("model.safetensors", "model-q8_0.gguf", type="q8_0")
        >>> report.bytes_read
        8192

    The output appears under its name complete and flushed, or not at all. Its bytes depend on what was asked for, not
    on threads, memory or processor. Without ``type`` every tensor keeps its own.

    source: what to read: safetensors, GGUF, PyTorch, TensorFlow.js or NumPy; a path, an index of shards, a folder,
        https://..., hf://owner/repo/file[@revision], or "-" for the standard input. A list of them makes one file. A
        mapping {"diffusion_model": ..., "clip_l": ..., "clip_g": ..., "t5xxl": ..., "vae": ..., "model": ...} makes
        an all-in-one file, each component's names with its prefix in front; any other key is a prefix and ends with a
        dot. Or a Plan, which says all of the options too: then only ``progress`` and ``cancel`` go with it.
    output: the file to write.
    to: its format, "gguf" or "safetensors"; else by its suffix.

    Types, by any name ("q4_K", "bf16") or as torch's, numpy's or ml_dtypes' objects:
    type: of every tensor that can take it.
    rules: what becomes of tensors whose name in the output a pattern (RE2's) finds: "attn=q8_0", "embed=keep",
        "^ema=drop", "ffn=fallback:q4_K,q5_0", "ffn=rmse:0.01" (the smallest type with so small an error), "ndim<2=f32";
        a list of them, or a mapping of pattern to action. The first that matches decides, before every other choice.
    rules_file: files of them, one a line, after ``rules``.
    tensor_type_rules: "REGEX=TYPE,REGEX=TYPE", after those.
    profile, or for_: whom the output is for: "sdcpp", "comfyui", "llamacpp", or a file like them.
    recipe: types by role and layer of a language model, as llama-quantize chooses them: "Q4_K_M". With it: pure (its
        own type for every tensor), output_tensor_type, token_embedding_type, leave_output_tensor, allow_requantize.
    imatrix: weights to quantise by: "none"; "ones" (stable-diffusion.cpp's bytes); or files of an importance matrix.
        include_weights, exclude_weights: weigh only tensors whose names hold one of these, or all but such.
    nonfinite: numbers that a type can't hold: "refuse", the default, or "keep" what becomes of them.

    Tensors and names, in this order:
    component: a part of an all-in-one checkpoint or of a pipeline, its prefix taken off: "vae", "diffusion_model", ...
    select, drop: patterns of names in the input that come in, or stay out.
    strip_prefix, rename, prefix: take a prefix off; change what a pattern finds ({r"^blocks\\.": "blk."}, or texts
        "REGEX=TEXT"); put one in front.
    split, concat: cut or join along the first dimension: {"qkv": ["q", "k", "v"]}, {"qkv": {"q": 3072, "kv": 6144}}
        (rows), {"blk.{}.qkv": ["blk.{}.q", "blk.{}.k", "blk.{}.v"]}; or texts "NAME=A,B". {} is any layer's number.
    prefer: of two tensors with one name, that of the "first" or the "last" input; else they are an error.
    prune_layers: blk.N to leave out; later ones move up.
    override_kv: metadata: {"key": "text", "n": 3, "x": 0.5, "b": True}, kept as str, u32, f32 and bool; or texts
        "KEY=int:3". architecture: general.architecture of a GGUF output; else the input's.

    The work:
    measure: compare what was made with what it was made of: ConvertReport.errors.
    shard_size: bytes of tensors that a file holds at most, as "5GB": several files, never replacing others.
    memory: budget, as bytes or "512MiB" (KiB, MiB, GiB and K, M, G are powers of 1024); 256 MiB unless told.
    threads: workers; None or 0 is one per core. force: replace an existing output.
    torch_key: the entry of a PyTorch checkpoint that holds the weights. variant: of a folder's files, "fp16".
    headers: sent to a URL's own host, {"Authorization": "Bearer ..."}. connections: to a server at once, 8 unless told.
    fetch, weight_path_prefix, weight_url_converter: other ways to the files, for all inputs: see open().
    progress: called with a Progress about ten times a second on this thread; or a bar with ``total`` and
        ``update(n)``, such as tqdm(unit="B", unit_scale=True), which the caller closes. Its exceptions end the work
        and reach the caller. Where rules want the data looked at first, it sees that pass too.
    cancel: a CancelToken that ends the work from another thread.

    The GIL is released; any thread may convert. Ctrl-C ends it with KeyboardInterrupt, no output left.

    Raises InvalidArgumentError (options that make no sense, a pattern that matches nothing, no such type),
    ConflictError (the output exists and ``force`` is off, or is an input; two tensors of one name), FormatError,
    UnsupportedError, ValueConversionError, IoError, NoSpaceError, BudgetError, CancelledError: all headrace.Error.
    """
    given = dict(locals())
    callback = _progress.callback(given.pop("progress"))
    if not isinstance(source, Plan):
        return _core.convert(_plan(given), callback, cancel)
    others = [key for key, value in given.items()
              if key not in ("source", "cancel") and value is not None and value is not False]
    if others:
        raise refuse("a Plan says already what to do", found=", ".join(others), hint="make another plan with plan()")
    return _core.convert(source, callback, cancel)


def _plan(given: dict[str, object]) -> Plan:
    source, output, cancel = given.pop("source"), given.pop("output"), given.pop("cancel")
    if output is None:
        raise refuse("no output was given", expected="the path of the file to write")
    return _core.plan(inputs(source), location(output, "output"), plain(given), cancel)
