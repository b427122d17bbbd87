// Any multilayer perceptron over a tile of samples, run by the threads of a block: its sizes are data, so that one kernel,
// compiled ahead of time, serves all nets. Field concept of mlp_sweep.hpp; the same numbers as mlp_block_field.hpp, where
// sizes are constants of the program.
//
// A stage is worked on in shared memory, as there; weights are read from memory where they are, and sums over the samples
// are added up there.
#pragma once

#include "mlp_activation.hpp"
#include "mlp_block_product.hpp"
#include "mlp_block_rows.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Rows whose number is not known before.
template <class T_, int lanes_, class Block>
class AnyRows : public BlockRows<T_, lanes_, 1, Block> {
 public:
  using T = T_;
  using Base = BlockRows<T_, lanes_, 1, Block>;
  using Base::Base;

  // A base (null is zero) and a sum of rows with coefficients; those that are zero are left out.
  class Terms {
   public:
    PMP_INLINE Terms(const AnyRows& rows, const T* base, int dim)
        : base_(base), thread_(rows.thread()), size_(dim * Base::width) {}
    PMP_INLINE void add(T coefficient, const T* rows) {
      if (coefficient == T(0)) return;
      coefficient_[count_] = coefficient, rows_[count_] = rows, ++count_;
    }
    PMP_INLINE void store(T* to) const {
      PMP_DEVICE_ROLLED
      for (int e = thread_; e < size_; e += Base::threads) {
        T value = base_ ? base_[e] : T(0);
        PMP_DEVICE_ROLLED
        for (int i = 0; i < count_; ++i) value = native::fma(coefficient_[i], rows_[i][e], value);
        to[e] = value;
      }
    }

   private:
    const T* const base_;
    const int thread_, size_;
    int count_ = 0;
    T coefficient_[max_stages];
    const T* rows_[max_stages];
  };
};

template <class T_, int lanes_, class Block>
class AnyField {
 public:
  using T = T_;
  using Rows = AnyRows<T, lanes_, Block>;

  static PMP_INLINE MlpRecord record_of(const MlpJob<T>& job) {
    return {job.net->dim, job.net->record_rows, job.net->velocity_row()};
  }
  static PMP_INLINE long scratch_size(const MlpJob<T>& job) { return static_cast<long>(job.net->record_rows) * width; }

  PMP_INLINE AnyField(const MlpJob<T>& job, const MlpPart<T>& part, T* scratch, Rows rows_)
      : rows(rows_), net_(*job.net), given_(job.weights), part_(part), stage_(scratch) {}

  const Rows rows;

  PMP_INLINE T* stage(T*) const { return stage_; }
  PMP_INLINE T* velocity(T*, T* own) const { return own; }

  // From the state in the stage: outputs there, the velocity, and what is kept in the record where there is one.
  PMP_INLINE void forward(const T* stage, T time, int row, T* velocity, T* record) const {
    if (record) rows.copy(record, stage, net_.dim);
    rows.meet();
    const T* input = stage;
    PMP_DEVICE_ROLLED
    for (int l = 0; l < net_.layer_count; ++l) {
      T* const output = l + 1 == net_.layer_count ? velocity : stage_ + net_.layers[l].output_row * width;
      forward_layer(l, row, input, time, output, record);
      rows.meet();
      input = output;
    }
  }

  PMP_INLINE const T* recall(const T* record) const {
    rows.meet();
    rows.copy(stage_, record, net_.record_rows);
    return stage_;
  }

  // From the costate of the velocity, m, which is overwritten: the derivative in the state, g, and sums of those in the
  // weights. Outputs in the stage are overwritten, too.
  PMP_INLINE void backward(const T*, T time, int row, T* m, T* g) const {
    rows.meet();
    const MlpLayer last = net_.layers[net_.layer_count - 1];
    if (last.activation != Activation::identity) {
      PMP_DEVICE_ROLLED
      for (int e = rows.thread(); e < last.out * width; e += threads) m[e] = through(last, m[e], e);
      rows.meet();
    }
    long long first = 0;  // of the layer's parameters, those of one row of all layers after each other
    PMP_DEVICE_ROLLED
    for (int l = 0; l < net_.layer_count; ++l) first += parameters(net_.layers[l]);
    const T* delta = m;
    PMP_DEVICE_ROLLED
    for (int l = net_.layer_count; l-- > 0;) {
      T* const below = l > 0 ? stage_ + net_.layers[l - 1].output_row * width : g;
      first -= parameters(net_.layers[l]);
      add_sums(net_.layers[l], first, row, delta, l > 0 ? below : stage_, time);
      if (l > 0) rows.meet();
      backward_layer(l, row, delta, below);
      rows.meet();
      delta = below;
    }
  }

  PMP_INLINE void end() const {}

 private:
  using Real = Pack<T, 1>;
  static constexpr int lanes = Rows::lanes, width = Rows::width, threads = Rows::threads;
  static constexpr int M = 2, N = 4, across = lanes / N;  // results of one thread: rows, samples

  static PMP_INLINE int matrix(const MlpLayer& layer) { return layer.out * layer.columns(); }
  static PMP_INLINE int parameters(const MlpLayer& layer) { return matrix(layer) + (layer.bias ? layer.out : 0); }
  PMP_INLINE const T* weights(int l, int row) const {
    return given_.weights[l] + static_cast<long long>(row) * matrix(net_.layers[l]);
  }

  // z_l = sigma(W_l z_{l-1} + b_l)
  PMP_INLINE void forward_layer(int l, int row_of_weights, const T* input, T time, T* output, T* record) const {
    const MlpLayer layer = net_.layers[l];
    const int columns = layer.columns();
    const T* const w = weights(l, row_of_weights);
    const T* const b = layer.bias ? given_.bias[l] + static_cast<long long>(row_of_weights) * layer.out : nullptr;
    const int tasks = (layer.out + M - 1) / M * across;
    PMP_DEVICE_ROLLED
    for (int task = rows.thread(); task < tasks; task += threads) {
      const int lane = task % across * N, row = task / across * M;
      const T* a[M];
      Group<T, N> y[M];
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        const int at = row + m < layer.out ? row + m : layer.out - 1;
        a[m] = w + static_cast<long long>(at) * columns;
        T start = b ? b[at] : T(0);
        if (layer.timed) start += time * a[m][layer.in];
        PMP_UNROLL
        for (int n = 0; n < N; ++n) y[m].v[n] = start;
      }
      PMP_DEVICE_UNROLL(4)
      for (int k = 0; k < layer.in; ++k) {
        const auto column = Group<T, N>::load(input + k * width + lane);
        PMP_UNROLL
        for (int m = 0; m < M; ++m) add(y[m], a[m][k], column);
      }
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        if (row + m >= layer.out) break;
        Group<T, N> slope;
        PMP_DEVICE_ROLLED
        for (int n = 0; n < N; ++n) {
          const auto value = activation::value(layer.activation, Real(y[m].v[n]));
          y[m].v[n] = value.z.v[0], slope.v[n] = value.slope.v[0];
        }
        const int at = (row + m) * width + lane;
        y[m].store(output + at);
        if (record && layer.output_row >= 0) y[m].store(record + layer.output_row * width + at);
        if (record && layer.slope_row >= 0) slope.store(record + layer.slope_row * width + at);
      }
    }
  }

  // delta_{l-1} = sigma_{l-1}' W_l^T delta_l; of the first layer the derivative in the state.
  PMP_INLINE void backward_layer(int l, int row_of_weights, const T* delta, T* below) const {
    const MlpLayer layer = net_.layers[l];
    const int columns = layer.columns();
    const int tasks = (layer.in + M - 1) / M * across;
    PMP_DEVICE_ROLLED
    for (int task = rows.thread(); task < tasks; task += threads) {
      const int lane = task % across * N, row = task / across * M;
      const int second = row + 1 < layer.in ? 1 : 0;
      const T* w = weights(l, row_of_weights) + row;
      Group<T, N> y[M] = {};
      PMP_DEVICE_UNROLL(4)
      for (int j = 0; j < layer.out; ++j, w += columns) {
        const auto column = Group<T, N>::load(delta + j * width + lane);
        add(y[0], w[0], column);
        add(y[1], w[second], column);
      }
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        if (row + m >= layer.in) break;
        const int at = (row + m) * width + lane;
        PMP_UNROLL
        for (int n = 0; l > 0 && n < N; ++n) y[m].v[n] = through(net_.layers[l - 1], y[m].v[n], at + n);
        y[m].store(below + at);
      }
    }
  }

  // g sigma_l' at element e of the layer's outputs
  PMP_INLINE T through(const MlpLayer& layer, T g, int e) const {
    const T z = layer.output_row < 0 ? T(0) : stage_[layer.output_row * width + e];
    const T slope = layer.slope_row < 0 ? T(0) : stage_[layer.slope_row * width + e];
    return activation::through(layer.activation, Real(g), Real(z), Real(slope)).v[0];
  }

  // Sums over the samples, of which each thread owns some.
  PMP_INLINE void add_sums(MlpLayer layer, long long first, int row, const T* delta, const T* input, T time) const {
    constexpr int K = 2;
    const int columns = layer.columns(), down = (layer.out + K - 1) / K, wide = (layer.in + K - 1) / K;
    T* const to = part_.sums + (first * part_.weight_rows + static_cast<long long>(row) * matrix(layer));
    PMP_DEVICE_ROLLED
    for (int task = rows.thread(); task < down * wide; task += threads) {
      const int j = task / wide, k = task % wide;
      const T *a[K], *b[K];
      PMP_UNROLL
      for (int i = 0; i < K; ++i) {
        a[i] = delta + (j + i * down < layer.out ? j + i * down : 0) * width;
        b[i] = input + (k + i * wide < layer.in ? k + i * wide : 0) * width;
      }
      T y[K][K] = {};
      add_outer<lanes>(y, a, b);
      PMP_UNROLL
      for (int m = 0; m < K; ++m) {
        PMP_UNROLL
        for (int n = 0; n < K; ++n)
          if (j + m * down < layer.out && k + n * wide < layer.in)
            to[(j + m * down) * columns + k + n * wide] += y[m][n];
      }
    }
    if (!layer.bias && !layer.timed) return;
    T* const to_bias =
        part_.sums + ((first + matrix(layer)) * part_.weight_rows + static_cast<long long>(row) * layer.out);
    PMP_DEVICE_ROLLED
    for (int j = rows.thread(); j < layer.out; j += threads) {
      T sum(0);
      PMP_DEVICE_ROLLED
      for (int lane = 0; lane < lanes; lane += 4) {
        const auto four = Group<T, 4>::load(delta + j * width + lane);
        sum += (four.v[0] + four.v[1]) + (four.v[2] + four.v[3]);
      }
      if (layer.bias) to_bias[j] += sum;
      if (layer.timed) to[j * columns + layer.in] += sum * time;
    }
  }

  static PMP_INLINE void add(Group<T, N>& y, T factor, const Group<T, N>& column) {
    PMP_UNROLL
    for (int n = 0; n < N; ++n) y.v[n] = native::fma(factor, column.v[n], y.v[n]);
  }

  const MlpNet& net_;
  const MlpWeights<T> given_;
  const MlpPart<T>& part_;
  T* const stage_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
