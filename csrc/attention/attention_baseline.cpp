// The standard headers come first: they must not be compiled for another instruction set.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#define INTERACT_ISA baseline
#define INTERACT_ROWS 3
#define INTERACT_WIDE_VECTORS 1
#include "attention/rows_simd.h"
#include "attention/tree_simd.h"
