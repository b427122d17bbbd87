// One hidden layer between D components: a pass over the hidden units, each used up while it is in registers.
#pragma once

#include "mlp_activation.hpp"
#include "mlp_product.hpp"
#include "mlp_rows.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// f_i = c_i + sum_j V_ij sigma(b_j + sum_k W_jk x_k + W_jt t). Field concept of mlp_sweep.hpp.
template <class T, int W, int D>
class NarrowField : public RecordField<Pack<T, W>> {
 public:
  using Real = Pack<T, W>;

  static long scratch_size(const MlpJob<T>& job) { return LaneSums<Real>::size(*job.net); }
  NarrowField(const MlpJob<T>& job, const MlpPart<T>& part, T* scratch, PackRows<Real>)
      : net_(*job.net), weights_(job.weights), sums_(net_, part.sums, scratch, job.backward) {}

  PMP_NOINLINE void forward(T* record, T time, int row, T* velocity, bool slopes) {
    if (net_.layers[0].activation == Activation::tanh)
      pass(
          record, time, row, velocity,
          [](Real a, T* z, T*) PMP_INLINE_LAMBDA {
            const Real value = activation::quick_tanh(a);
            value.store(z);
            return value;
          },
          false);
    else
      pass(
          record, time, row, velocity,
          [this](Real a, T* z, T* slope) PMP_INLINE_LAMBDA {
            a.store(z);
            activation::apply<Lanes<Real>>(net_.layers[0].activation, z, slope, W);
            return Real::load(z);
          },
          slopes && net_.layers[0].slope_row >= 0);
  }

  PMP_NOINLINE void backward(const T* record, T time, int row, const T* m, T* g) {
    sums_.use(row);
    const MlpLayer& hidden = net_.layers[0];
    const T* slope = record + hidden.slope_row * W;
    switch (hidden.activation) {
      case Activation::identity:
        return pass_back(record, time, row, m, g, [&](Real d, Real, int) PMP_INLINE_LAMBDA { return d; });
      case Activation::tanh:
        return pass_back(record, time, row, m, g,
                         [&](Real d, Real zj, int) PMP_INLINE_LAMBDA { return activation::through_tanh(d, zj); });
      case Activation::relu:
        return pass_back(record, time, row, m, g,
                         [&](Real d, Real zj, int) PMP_INLINE_LAMBDA { return activation::through_relu(d, zj); });
      default:
        return pass_back(record, time, row, m, g,
                         [&](Real d, Real, int j) PMP_INLINE_LAMBDA { return d * Real::load(slope + j * W); });
    }
  }

  void end() { sums_.use(-1); }

 private:
  struct Parameters {
    const T *w, *b, *v, *c;  // of both layers
  };
  Parameters parameters(int row) const {
    const MlpLayer &hidden = net_.layers[0], &last = net_.layers[1];
    const long r = row;
    return {weights_.weights[0] + r * hidden.out * hidden.columns(),
            hidden.bias ? weights_.bias[0] + r * hidden.out : nullptr, weights_.weights[1] + r * D * last.in,
            last.bias ? weights_.bias[1] + r * D : nullptr};
  }

  template <class Sigma>
  PMP_INLINE void pass(T* record, T time, int row, T* velocity, Sigma sigma, bool slopes) {
    const MlpLayer& hidden = net_.layers[0];
    const Parameters p = parameters(row);
    const int units = hidden.out;
    T *z = record + hidden.output_row * W, *slope = slopes ? record + hidden.slope_row * W : nullptr;
    Array<Real, D> x, f;
    each(Size<D>(), [&](auto i) PMP_INLINE_LAMBDA {
      x[i] = Real::load(record + i * W);
      f[i] = Real(p.c ? p.c[i] : T(0));
    });
    const T* w = p.w;
    PMP_ROLLED
    for (int j = 0; j < units; ++j, w += hidden.columns(), z += W) {
      T start = p.b ? p.b[j] : T(0);
      if (hidden.timed) start += time * w[D];
      Real a(start);
      each(Size<D>(), [&](auto k) PMP_INLINE_LAMBDA { a = fma(Real(w[k]), x[k], a); });
      const Real value = sigma(a, z, slope);
      if (slope) slope += W;
      each(Size<D>(), [&](auto i) PMP_INLINE_LAMBDA { f[i] = fma(Real(p.v[i * units + j]), value, f[i]); });
    }
    each(Size<D>(), [&](auto i) PMP_INLINE_LAMBDA { f[i].store(velocity + i * W); });
  }

  template <class Through>
  PMP_INLINE void pass_back(const T* record, T time, int row, const T* m, T* g, Through through) {
    const MlpLayer &hidden = net_.layers[0], &last = net_.layers[1];
    const Parameters p = parameters(row);
    const int units = hidden.out;
    constexpr int L = Real::lanes;
    T *to_w = sums_.at(hidden.lane_first), *to_b = to_w + units * hidden.columns() * L;
    T *to_v = sums_.at(last.lane_first), *to_c = to_v + D * units * L;
    Array<Real, D> x, lam, gx;
    each(Size<D>(), [&](auto i) PMP_INLINE_LAMBDA {
      x[i] = Real::load(record + i * W);
      lam[i] = Real::load(m + i * W);
      gx[i] = Real(0);
    });
    const T *w = p.w, *z = record + hidden.output_row * W;
    const auto add = [](Lanes<Real> value, T* to) PMP_INLINE_LAMBDA { (Lanes<Real>::load(to) + value).store(to); };
    PMP_ROLLED
    for (int j = 0; j < units; ++j, w += hidden.columns(), z += W) {
      const Real zj = Real::load(z);
      Real d = Real(p.v[j]) * lam[0];
      each(Size<D - 1>(), [&](auto i) PMP_INLINE_LAMBDA { d = fma(Real(p.v[(i + 1) * units + j]), lam[i + 1], d); });
      d = through(d, zj, j);
      each(Size<D>(), [&](auto k) PMP_INLINE_LAMBDA {
        T* const v = to_v + (k * units + j) * L;
        dot(d, x[k], Lanes<Real>::load(to_w + k * L)).store(to_w + k * L);
        dot(zj, lam[k], Lanes<Real>::load(v)).store(v);
        gx[k] = fma(Real(w[k]), d, gx[k]);
      });
      to_w += D * L;
      const Lanes<Real> sum = fold(d);
      if (hidden.timed) fma(sum, Lanes<Real>(time), Lanes<Real>::load(to_w)).store(to_w), to_w += L;
      if (hidden.bias) add(sum, to_b + j * L);
    }
    each(Size<D>(), [&](auto i) PMP_INLINE_LAMBDA {
      if (last.bias) add(fold(lam[i]), to_c + i * L);
      gx[i].store(g + i * W);
    });
  }

  const MlpNet& net_;
  const MlpWeights<T>& weights_;
  LaneSums<Real> sums_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
