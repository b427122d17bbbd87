// A multilayer perceptron of any shape over a block of W lanes: layer by layer.
#pragma once

#include "mlp_activation.hpp"
#include "mlp_product.hpp"
#include "mlp_rows.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// f(t, x) and its transpose. Field concept of mlp_sweep.hpp.
template <class T, int W>
class LayeredField : public RecordField<Pack<T, W>> {
 public:
  using Real = Pack<T, W>;

  static long scratch_size(const MlpJob<T>& job) {
    const MlpNet& net = *job.net;
    return LaneSums<Real>::size(net) + static_cast<long>(2 * net.widest + net.widest_matrix) * W;
  }
  LayeredField(const MlpJob<T>& job, const MlpPart<T>& part, T* scratch, PackRows<Real>)
      : net_(*job.net), weights_(job.weights), sums_(net_, part.sums, scratch, job.backward) {
    scratch += LaneSums<Real>::size(net_);
    delta_[0] = scratch, delta_[1] = scratch + static_cast<long>(net_.widest) * W;
    transposed_ = scratch + 2L * net_.widest * W;
  }

  // Fills the record's outputs and slopes from its state, and the velocity f.
  void forward(T* record, T time, int row, T* velocity, bool slopes) {
    const T* input = record;
    for (int l = 0; l < net_.layer_count; ++l) {
      const MlpLayer& layer = net_.layers[l];
      T* const output = l + 1 == net_.layer_count ? velocity : record + layer.output_row * W;
      T* const slope = slopes && layer.slope_row >= 0 ? record + layer.slope_row * W : nullptr;
      layer_forward(layer, matrix(l, row), bias(l, row), time, input, output, slope);
      input = output;
    }
  }

  // From the costate of the velocity, `m`: the derivative in the state, `g`, and sums of those in the weights.
  void backward(const T* record, T time, int row, const T* m, T* g) {
    sums_.use(row);
    T* delta = delta_[0];
    T* other = delta_[1];
    for (long i = 0; i < net_.dim * W; i += W) Real::load(m + i).store(delta + i);
    for (int l = net_.layer_count; l-- > 0;) {
      const MlpLayer& layer = net_.layers[l];
      const T* input = l == 0 ? record : record + net_.layers[l - 1].output_row * W;
      activation::retreat<Lanes<Real>>(layer.activation, delta, record + layer.output_row * W,
                                       record + layer.slope_row * W, static_cast<long>(layer.out) * W);
      if (layer.narrow) add_narrow(layer, delta, input, time);
      else add_wide(layer, delta, input, time, sums_.row());
      layer_backward(layer, matrix(l, row), delta, l == 0 ? g : other);
      T* const spare = delta;
      delta = other, other = spare;
    }
  }

  void end() { sums_.use(-1); }

 private:
  const T* matrix(int l, int row) const {
    const MlpLayer& layer = net_.layers[l];
    return weights_.weights[l] + static_cast<long>(row) * layer.out * layer.columns();
  }
  const T* bias(int l, int row) const {
    const MlpLayer& layer = net_.layers[l];
    return layer.bias ? weights_.bias[l] + static_cast<long>(row) * layer.out : nullptr;
  }

  PMP_NOINLINE static void layer_forward(const MlpLayer& layer, const T* w, const T* b, T time, const T* x, T* z,
                                         T* slope) {
    const int columns = layer.columns();
    by_tiles(layer.out, [&](auto size, int first) PMP_INLINE_LAMBDA {
      constexpr int M = decltype(size)();
      Array<Real, M> y;
      const T* rows = w + static_cast<long>(first) * columns;
      each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA {
        T start = b ? b[first + m] : T(0);
        if (layer.timed) start += time * rows[m * columns + layer.in];
        y[m] = Real(start);
      });
      accumulate(y, rows, columns, 1, layer.in, x);
      each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { y[m].store(z + (first + m) * W); });
      if (layer.activation != Activation::identity)
        activation::apply<Lanes<Real>>(layer.activation, z + first * W, slope ? slope + first * W : nullptr, M * W);
    });
  }

  PMP_NOINLINE static void layer_backward(const MlpLayer& layer, const T* w, const T* delta, T* g) {
    by_tiles(layer.in, [&](auto size, int first) PMP_INLINE_LAMBDA {
      constexpr int M = decltype(size)();
      Array<Real, M> y;
      each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { y[m] = Real(0); });
      accumulate(y, w + first, 1, layer.columns(), layer.out, delta);
      each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { y[m].store(g + (first + m) * W); });
    });
  }

  T* accumulator(const MlpLayer& layer, int i) const { return sums_.at(layer.lane_first + i); }

  static PMP_INLINE void add(Lanes<Real> value, T* to) { (Lanes<Real>::load(to) + value).store(to); }

  PMP_NOINLINE void add_narrow(const MlpLayer& layer, const T* delta, const T* x, T time) const {
    T *to = accumulator(layer, 0), *bias = accumulator(layer, layer.out * layer.columns());
    for (int j = 0; j < layer.out; ++j) {
      const Real d = Real::load(delta + j * W);
      for (int k = 0; k < layer.in; ++k, to += Real::lanes)
        dot(d, Real::load(x + k * W), Lanes<Real>::load(to)).store(to);
      const Lanes<Real> sum = fold(d);
      if (layer.timed) add(sum * Lanes<Real>(time), to), to += Real::lanes;
      if (layer.bias) add(sum, bias + j * Real::lanes);
    }
  }

  PMP_NOINLINE void add_wide(const MlpLayer& layer, const T* delta, const T* x, T time, T* sums) const {
    T *bias = accumulator(layer, 0), *timed = accumulator(layer, layer.bias ? layer.out : 0);
    if (layer.bias || layer.timed)
      for (int j = 0; j < layer.out; ++j) {
        const Lanes<Real> sum = fold(Real::load(delta + j * W));
        if (layer.bias) add(sum, bias + j * Real::lanes);
        if (layer.timed) add(sum * Lanes<Real>(time), timed + j * Real::lanes);
      }
    const T *narrower = layer.by_input ? x : delta, *wider = layer.by_input ? delta : x;
    const int few = layer.by_input ? layer.in : layer.out, many = layer.by_input ? layer.out : layer.in;
    scatter<T, W>(narrower, 0, 1, few, W, transposed_, layer.matrix_stride);
    outer_sum<W>(sums + layer.matrix, layer.matrix_stride, many, wider, transposed_);
  }

  const MlpNet& net_;
  const MlpWeights<T>& weights_;
  LaneSums<Real> sums_;
  T* delta_[2];
  T* transposed_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
