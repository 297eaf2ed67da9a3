#include "sparsify/split.h"
namespace interact::sparsify {
void admm(const Samples&, const Splits&, const AdmmOptions&, int) {}
}
