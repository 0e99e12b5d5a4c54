"""Purchase strategies, one file each: in which order the pool is bought. None of them asks the teacher.

Each file has `order(pool, limit, guide)`: places in `pool`, at least the first `limit` of one fixed sequence, so that a smaller
budget is a prefix of a larger one. `guide` is the file or folder that the strategy reads (`params.Teach.guide`).
"""

STRATEGIES = {
    name: f"tuition.selection.{module}"
    for name, module in (
        ("random", "shuffled"),
        ("balanced", "balanced"),
        ("kcenter", "kcenter"),
        ("kmeans", "kmeans"),
        ("probcover", "probcover"),
        ("typiclust", "typiclust"),
        ("uncertain", "uncertain"),
        ("file", "listed"),
        ("pairs", "pairs"),
        ("documents", "documents"),
    )
}
