import numpy as np
import numpy.typing as npt

def cuda_architectures() -> str: ...
def cuda_device_count() -> int: ...
def cuda_capability(device: int) -> str: ...
def cuda_loading_error(device: int) -> str: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str) -> bool: ...
def kronecker_f32(
    src: int, dst: int, batch: int, n: int, a: float, b: float, c: float, d: float, threads: int
) -> None: ...
def kronecker_f64(
    src: int, dst: int, batch: int, n: int, a: float, b: float, c: float, d: float, threads: int
) -> None: ...
def kronecker_fused_f32(
    src: int,
    dst: int,
    batch: int,
    n: int,
    matrix: tuple[float, float, float, float],
    scale: float,
    add: int,
    add_scale: float,
    threshold: float,
    zero_first: bool,
    from_first: bool,
    orders: int,
    threads: int,
) -> None: ...
def kronecker_fused_f64(
    src: int,
    dst: int,
    batch: int,
    n: int,
    matrix: tuple[float, float, float, float],
    scale: float,
    add: int,
    add_scale: float,
    threshold: float,
    zero_first: bool,
    from_first: bool,
    orders: int,
    threads: int,
) -> None: ...
def and_or_moebius_f32(s: int, u: int, i_and: int, i_or: int, batch: int, n: int, threads: int) -> None: ...
def and_or_moebius_f64(s: int, u: int, i_and: int, i_or: int, batch: int, n: int, threads: int) -> None: ...
def tree_attention(
    storage: int,
    q_k_v_out: list[int],
    strides: list[tuple[int, int, int]],
    heads_and_sizes: tuple[int, int, int, int],
    scale: float,
    softcap: float,
    sinks: int,
    tree: list[int],
    segments: int,
    keys: int,
    queries: int,
    threads: int,
) -> None: ...
def key_lists(
    tree: list[int], segments: int, keys: int, queries: int, tokens: int, tile: int
) -> tuple[npt.NDArray[np.int32], int, int, int]: ...
def row_attention(
    storage: int,
    q_k_v_out: list[int],
    strides: list[tuple[int, int, int]],
    heads_and_sizes: tuple[int, int, int, int],
    scale: float,
    softcap: float,
    sinks: int,
    who: list[int],
    rows: int,
    length: int,
    causal: bool,
    window: int,
    threads: int,
) -> None: ...
def split_interior_point(
    v: int,
    bound: int,
    count: int,
    n: int,
    soft: bool,
    ridge: float,
    start: list[int],
    out: list[int],
    rtol: float,
    max_iterations: int,
    seconds: float,
    single_precision: bool,
    polish: bool,
    correctors: int,
    spotrf: int,
    dpotrf: int,
    threads: int,
) -> None: ...
def hold_columns(
    v: int,
    bound: int,
    n: int,
    soft: bool,
    ridge: float,
    held: list[int],
    count: int,
    decision: float,
    out: list[int],
    rtol: float,
    max_iterations: int,
    seconds: float,
    correctors: int,
    spotrf: int,
    dpotrf: int,
    threads: int,
) -> None: ...
def split_admm(
    v: int,
    bound: int,
    count: int,
    n: int,
    soft: bool,
    ridge: float,
    out: list[int],
    rtol: float,
    max_iterations: int,
    seconds: float,
    rho: float,
    threads: int,
) -> None: ...
