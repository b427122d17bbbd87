// Both layouts against each other, scalar by scalar: every shape of block, partly filled packs, shared arrays.
#include "pontryagin/layout.hpp"

#include <initializer_list>

#include "check.hpp"

using namespace pontryagin;

namespace {

constexpr int most_lanes = 64, most_scalars = 40, gap = 3;
constexpr int store_size = (most_scalars * (gap + 1) + 1) * most_lanes;

template <class T>
struct Arrays {
  T problems[most_lanes * most_scalars];
  alignas(64) T store[store_size];
};

template <class T, int W>
void check_block(Arrays<T>& arrays, int nodes, int components, int lanes, bool shared) {
  const int scalars = nodes * components;
  const long stride = shared ? 0 : scalars, node_stride = (components + gap) * W;
  const T untouched(-1);
  for (int i = 0; i < most_lanes * most_scalars; ++i) arrays.problems[i] = T(i + 1);
  for (T& s : arrays.store) s = untouched;
  const auto stored = [&](int k, int c, int lane) -> T& { return arrays.store[k * node_stride + c * W + lane]; };
#define CHECK_HERE(condition)                                                                                          \
  CHECK(condition, "%d bytes, %d lanes of %d, %d nodes, %d components%s", int(sizeof(T)), lanes, W, nodes, components, \
        shared ? ", shared" : "")

  gather<T, W>(arrays.problems, stride, nodes, components, lanes, arrays.store, node_stride);
  bool same = true;
  for (int k = 0; k < nodes; ++k)
    for (int c = 0; c < components + gap; ++c)
      for (int lane = 0; lane < W; ++lane) {
        const long problem = lane < lanes ? lane : lanes - 1;
        same = same && stored(k, c, lane) ==
                           (c < components ? arrays.problems[problem * stride + k * components + c] : untouched);
      }
  CHECK_HERE(same);

  for (T& p : arrays.problems) p = T(1);
  if (shared) reduce<T, W>(arrays.store, node_stride, nodes, components, lanes, arrays.problems);
  else scatter<T, W>(arrays.store, node_stride, nodes, components, lanes, arrays.problems, stride);
  same = true;
  for (int i = 0; i < most_lanes * most_scalars; ++i) {
    const int lane = i / scalars, j = i % scalars;
    T expected(1);
    if (lane < (shared ? 1 : lanes)) {
      if (!shared) expected = stored(j / components, j % components, lane);
      else
        for (int l = 0; l < lanes; ++l) expected += stored(j / components, j % components, l);
    }
    same = same && arrays.problems[i] == expected;
  }
  CHECK_HERE(same);
}

template <class T, int W>
void check_width() {
  static Arrays<T> arrays;
  for (int lanes : {1, 3, W / 2, W - 1, W})
    for (int nodes : {1, 2, 7, 8})
      for (int components : {1, 3, 4, 5})
        if (lanes >= 1 && lanes <= W)
          for (bool shared : {false, true}) check_block<T, W>(arrays, nodes, components, lanes, shared);
}

}  // namespace

int main() {
  check_width<double, 1>();
  check_width<double, 8>();
  check_width<double, 16>();
  check_width<double, 32>();
  check_width<float, 1>();
  check_width<float, 16>();
  check_width<float, 64>();
  return report();
}
