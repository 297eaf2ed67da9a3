def cuda_architectures() -> str: ...
def cuda_device_count() -> int: ...
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
    q: int,
    q_strides: tuple[int, int],
    k: int,
    k_strides: tuple[int, int],
    v: int,
    v_strides: tuple[int, int],
    out: int,
    tree: list[int],
    segments: int,
    keys: int,
    queries: int,
    heads_and_sizes: tuple[int, int, int, int],
    scale: float,
    softcap: float,
    sinks: int,
    threads: int,
) -> None: ...
def split_interior_point(
    v: int,
    delta: int,
    count: int,
    n: int,
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
def split_admm(
    v: int,
    delta: int,
    count: int,
    n: int,
    out: list[int],
    rtol: float,
    max_iterations: int,
    seconds: float,
    rho: float,
    threads: int,
) -> None: ...
