// True zeros: guess the active set of an interior point, re-solve on it, accept only with a proof.
#pragma once
#include "sparsify/interior_point.h"

namespace interact::sparsify {

// Returns whether `point` was replaced by a point with true zeros whose gap is at most `rtol`.
bool polish(const Programme& programme, const InteriorPoint& solver, NormalMatrix& normal, double rtol,
            Point& point);

}  // namespace interact::sparsify
