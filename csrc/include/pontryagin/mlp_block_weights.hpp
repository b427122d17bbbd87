// Weights of a net for the threads of a block: where they lie, and how they come into shared memory.
#pragma once

#include "mlp_block_rows.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Where parameters lie, from the shape of the net alone: in the order W_1, b_1, W_2, ... of the caller; in shared memory
// rows of W and b begin at multiples of 16 bytes.
template <class Request>
struct BlockNet {
  static constexpr int layers = sizeof(Request::shape.layers) / sizeof(MlpLayer);
  static PMP_HD constexpr MlpLayer layer(int l) {
    constexpr auto shape = Request::shape;
    return shape.layers[l];
  }
  static PMP_HD constexpr int rounded(int size) { return (size + 3) / 4 * 4; }
  static PMP_HD constexpr int stride(int l) { return rounded(layer(l).columns()); }
  static PMP_HD constexpr int weights(int l) { return layer(l).out * layer(l).columns(); }
  static PMP_HD constexpr int bias(int l) { return layer(l).bias ? layer(l).out : 0; }
  static PMP_HD constexpr int first(int l) {
    int at = 0;
    for (int i = 0; i < l; ++i) at += weights(i) + bias(i);
    return at;
  }
  static PMP_HD constexpr int near_first(int l) {
    int at = 0;
    for (int i = 0; i < l; ++i) at += layer(i).out * stride(i) + rounded(bias(i));
    return at;
  }
  static constexpr int parameters = first(layers);
  static constexpr int near_parameters = near_first(layers);
};

// The weights of one row in shared memory: all of them, or a panel of a layer's at a time where they do not fit. Threads
// meet between what is loaded here and what reads it.
template <class Request, class Rows>
class BlockWeights {
 public:
  using T = typename Request::Scalar;
  using Net = BlockNet<Request>;
  static constexpr int panel = Request::panel;  // numbers of weights at a time; 0: all
  static constexpr int size = panel ? panel : Net::near_parameters;

  PMP_INLINE BlockWeights(const MlpWeights<T>& given, T* memory, Rows rows)
      : given_(given), near_(memory), rows_(rows) {}

  // The row that is asked for from here on.
  PMP_INLINE void use(int row) {
    row_ = row;
    if constexpr (!panel) load_from<0>();
  }

  // Where all of a layer are.
  template <int l>
  PMP_INLINE const T* all() const {
    return near_ + Net::near_first(l);
  }
  template <int l>
  PMP_INLINE const T* bias() const {
    if constexpr (!Net::layer(l).bias) return nullptr;
    else if constexpr (panel) return given_bias<l>();
    else return near_ + Net::near_first(l) + Net::layer(l).out * Net::stride(l);
  }

  // A panel of rows first .. first + count - 1 of the matrix.
  template <int l>
  PMP_INLINE const T* load_rows(int first, int count) const {
    load<l>(near_, first, count);
    return near_;
  }
  // A panel of columns first .. first + count - 1, in rows of `stride`.
  template <int l, int stride>
  PMP_INLINE const T* load_columns(int first, int count) const {
    constexpr MlpLayer layer = Net::layer(l);
    const T* const from = given_weights<l>() + first;
    PMP_DEVICE_UNROLL(4)
    for (int i = rows_.thread(); i < layer.out * stride; i += Rows::threads)
      if (i % stride < count) near_[i] = from[i / stride * layer.columns() + i % stride];
    return near_;
  }

 private:
  template <int l>
  PMP_INLINE void load_from() const {
    constexpr MlpLayer layer = Net::layer(l);
    load<l>(near_ + Net::near_first(l), 0, layer.out);
    if constexpr (layer.bias) {
      T* const to = near_ + Net::near_first(l) + layer.out * Net::stride(l);
      PMP_DEVICE_ROLLED
      for (int j = rows_.thread(); j < layer.out; j += Rows::threads) to[j] = given_bias<l>()[j];
    }
    if constexpr (l + 1 < Net::layers) load_from<l + 1>();
  }
  template <int l>
  PMP_INLINE void load(T* to, int first, int count) const {
    constexpr int columns = Net::layer(l).columns(), stride = Net::stride(l);
    const T* const from = given_weights<l>() + static_cast<long long>(first) * columns;
    PMP_DEVICE_UNROLL(4)
    for (int i = rows_.thread(); i < count * columns; i += Rows::threads)
      to[i / columns * stride + i % columns] = from[i];
  }
  template <int l>
  PMP_INLINE const T* given_weights() const {
    return given_.weights[l] + static_cast<long long>(row_) * Net::weights(l);
  }
  template <int l>
  PMP_INLINE const T* given_bias() const {
    return given_.bias[l] + static_cast<long long>(row_) * Net::bias(l);
  }

  const MlpWeights<T> given_;
  T* const near_;
  const Rows rows_;
  int row_ = -1;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
