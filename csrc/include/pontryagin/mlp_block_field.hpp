// A multilayer perceptron over a tile of samples, run by the threads of a block. Field concept of mlp_sweep.hpp.
//
// All sizes are constants of the program. A stage is worked on in shared memory; its record goes to the tape on the way
// forward and comes back for the way back, where the slopes of each layer take the place of its inputs. Weights of a row
// stay in shared memory until another row is asked for, or pass through it in panels where they do not fit. Each thread
// owns some sums over the samples, so that they are added up in the same order every time.
#pragma once

#include "mlp_activation.hpp"
#include "mlp_block_product.hpp"
#include "mlp_block_weights.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class Request, class Block>
class BlockField {
 public:
  using T = typename Request::Scalar;
  using Net = BlockNet<Request>;
  using Rows = BlockRows<T, Request::lanes, Request::shape.net.dim, Block>;
  using Weights = BlockWeights<Request, Rows>;

  static PMP_INLINE MlpRecord record_of(const MlpJob<T>&) {
    return {Request::shape.net.dim, Request::shape.net.record_rows, Request::shape.velocity_row()};
  }
  static PMP_INLINE long scratch_size(const MlpJob<T>&) { return record_size + Weights::size + sums_size; }

  PMP_INLINE BlockField(const MlpJob<T>& job, const MlpPart<T>& part, T* scratch, Rows rows_)
      : rows(rows_),
        part_(part),
        stage_(scratch),
        weights_(job.weights, scratch + record_size, rows),
        sums_(scratch + record_size + Weights::size) {
    if constexpr (near_sums) {
      if (!job.backward) return;
      PMP_DEVICE_ROLLED
      for (int i = rows.thread(); i < Net::parameters; i += threads) sums_[i] = T(0);
    }
  }

  const Rows rows;

  PMP_INLINE T* stage(T*) const { return stage_; }
  PMP_INLINE T* velocity(T*, T* own) const { return own; }

  // From the state in the stage: outputs there, the velocity, and what is kept in the record where there is one.
  PMP_INLINE void forward(const T* stage, T time, int row, T* velocity, T* record) {
    use(row);
    if (record) rows.copy(record, stage, dim);
    rows.meet();
    forward_from<0>(stage, time, velocity, record);
  }

  PMP_INLINE const T* recall(const T* record) const {
    rows.meet();
    using Four = Group<T, 4>;
    PMP_DEVICE_UNROLL(4)
    for (int i = 4 * rows.thread(); i < record_size; i += 4 * threads) Four::load(record + i).store(stage_ + i);
    return stage_;
  }

  // From the costate of the velocity, m, which is overwritten: the derivative in the state, g, and sums of those in the
  // weights. Outputs in the stage are overwritten, too.
  PMP_INLINE void backward(const T*, T time, int row, T* m, T* g) {
    use(row);
    summed_ = true;
    rows.meet();
    constexpr MlpLayer last = Net::layer(Net::layers - 1);
    if constexpr (last.activation != Activation::identity) {
      PMP_DEVICE_ROLLED
      for (int e = rows.thread(); e < last.out * width; e += threads) m[e] = through<Net::layers - 1>(m[e], e);
      rows.meet();
    }
    backward_from<Net::layers - 1>(time, m, g);
  }

  PMP_INLINE void end() { flush(); }  // threads have met at the end of `backward`

 private:
  using Real = Pack<T, 1>;
  static constexpr int dim = Request::shape.net.dim, lanes = Rows::lanes, width = Rows::width, threads = Rows::threads;
  static constexpr int panel = Request::panel;
  static constexpr bool near_sums = Request::near_sums;
  static constexpr int record_size = Request::shape.net.record_rows * width;
  static constexpr int sums_size = near_sums ? Net::rounded(Net::parameters) : 0;

  // From here on weights and sums are those of this row. Threads have met since the row before was used, and meet before
  // this one is.
  PMP_INLINE void use(int row) {
    if (row == row_) return;
    flush();
    row_ = row;
    weights_.use(row);
  }

  // ---- forward ---------------------------------------------------------------------------------------------------------

  template <int l>
  PMP_INLINE void forward_from(const T* input, T time, T* velocity, T* record) {
    constexpr MlpLayer layer = Net::layer(l);
    constexpr bool last = l + 1 == Net::layers;
    T* const output = last ? velocity : stage_ + layer.output_row * width;
    if constexpr (panel) {
      constexpr int most = panel / Net::stride(l);
      static_assert(most > 0, "a panel holds a row of weights");
      PMP_DEVICE_ROLLED
      for (int first = 0; first < layer.out; first += most) {
        const int count = layer.out - first < most ? layer.out - first : most;
        if (first > 0) rows.meet();
        const T* const w = weights_.template load_rows<l>(first, count);
        rows.meet();
        forward_rows<l>(w, first, count, input, time, output, record);
      }
    } else {
      forward_rows<l>(weights_.template all<l>(), 0, layer.out, input, time, output, record);
    }
    rows.meet();
    if constexpr (!last) forward_from<l + 1>(output, time, velocity, record);
  }

  // z_l = sigma(W_l z_{l-1} + b_l) in rows first .. first + count - 1, of which `w` holds the weights.
  template <int l>
  PMP_INLINE void forward_rows(const T* w, int first, int count, const T* input, T time, T* output, T* record) const {
    constexpr MlpLayer layer = Net::layer(l);
    constexpr int stride = Net::stride(l);
    constexpr BlockTile tile = block_tile(layer.out, lanes, threads);
    constexpr int M = tile.rows, N = tile.columns, across = lanes / N;
    const T* const b = weights_.template bias<l>();
    const int tasks = (count + M - 1) / M * across;
    PMP_DEVICE_ROLLED
    for (int task = rows.thread(); task < tasks; task += threads) {
      const int lane = task % across * N, row = task / across * M;
      const T* a[M];
      Group<T, N> y[M];
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        const int at = row + m < count ? row + m : count - 1;
        a[m] = w + at * stride;
        T start = b ? b[first + at] : T(0);
        if (layer.timed) start += time * a[m][layer.in];
        PMP_UNROLL
        for (int n = 0; n < N; ++n) y[m].v[n] = start;
      }
      add_product<layer.in, width>(y, a, input + lane);
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        if (row + m >= count) break;
        Group<T, N> slope;
        PMP_UNROLL
        for (int n = 0; n < N; ++n) {
          const auto value = activation::value(layer.activation, Real(y[m].v[n]));
          y[m].v[n] = value.z.v[0], slope.v[n] = value.slope.v[0];
        }
        const int at = (first + row + m) * width + lane;
        y[m].store(output + at);
        if (record) {
          if constexpr (layer.output_row >= 0) y[m].store(record + layer.output_row * width + at);
          if constexpr (layer.slope_row >= 0) slope.store(record + layer.slope_row * width + at);
        }
      }
    }
  }

  // ---- back ------------------------------------------------------------------------------------------------------------

  // g sigma_l' at element e of the layer's outputs
  template <int l>
  PMP_INLINE T through(T g, int e) const {
    constexpr MlpLayer layer = Net::layer(l);
    const T z = layer.output_row < 0 ? T(0) : stage_[layer.output_row * width + e];
    const T slope = layer.slope_row < 0 ? T(0) : stage_[layer.slope_row * width + e];
    return activation::through(layer.activation, Real(g), Real(z), Real(slope)).v[0];
  }

  // From the slopes delta_l = dJ/d(W_l z_{l-1} + b_l).
  template <int l>
  PMP_INLINE void backward_from(T time, const T* delta, T* g) {
    constexpr MlpLayer layer = Net::layer(l);
    T* below = g;
    const T* input = stage_;
    if constexpr (l > 0) input = below = stage_ + Net::layer(l - 1).output_row * width;
    add_sums<l>(delta, input, time);
    if constexpr (panel) {
      constexpr int most = panel / layer.out / 4 * 4, stride = most < layer.in ? most : Net::rounded(layer.in);
      static_assert(most > 0, "a panel holds four columns of weights");
      PMP_DEVICE_ROLLED
      for (int first = 0; first < layer.in; first += stride) {
        const int count = layer.in - first < stride ? layer.in - first : stride;
        if (first > 0) rows.meet();
        const T* const w = weights_.template load_columns<l, stride>(first, count);
        rows.meet();
        backward_rows<l, stride>(w, first, count, delta, below);
      }
    } else {
      if constexpr (l > 0) rows.meet();
      backward_rows<l, Net::stride(l)>(weights_.template all<l>(), 0, layer.in, delta, below);
    }
    rows.meet();
    if constexpr (l > 0) backward_from<l - 1>(time, below, g);
  }

  // delta_{l-1} = sigma_{l-1}' W_l^T delta_l in rows first .. first + count - 1, of which `w` holds the columns; of the
  // first layer the derivative in the state.
  template <int l, int stride>
  PMP_INLINE void backward_rows(const T* w, int first, int count, const T* delta, T* below) const {
    constexpr MlpLayer layer = Net::layer(l);
    constexpr BlockTile tile = block_tile(layer.in, lanes, threads);
    constexpr int M = tile.rows, N = tile.columns, across = lanes / N;
    const int tasks = (count + M - 1) / M * across;
    PMP_DEVICE_ROLLED
    for (int task = rows.thread(); task < tasks; task += threads) {
      const int lane = task % across * N, row = task / across * M;
      Group<T, N> y[M] = {};
      add_transposed<layer.out, stride, width>(y, w + row, delta + lane);
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        if (row + m >= count) break;
        const int at = (first + row + m) * width + lane;
        if constexpr (l > 0) {
          PMP_UNROLL
          for (int n = 0; n < N; ++n) y[m].v[n] = through<l - 1>(y[m].v[n], at + n);
        }
        y[m].store(below + at);
      }
    }
  }

  // ---- sums over the samples -------------------------------------------------------------------------------------------

  template <int l>
  PMP_INLINE T* weight_sums() const {
    if constexpr (near_sums) return sums_ + Net::first(l);
    else return part_.sums + (Net::first(l) * part_.weight_rows + static_cast<long long>(row_) * Net::weights(l));
  }
  template <int l>
  PMP_INLINE T* bias_sums() const {
    constexpr int first = Net::first(l) + Net::weights(l);
    if constexpr (near_sums) return sums_ + first;
    else return part_.sums + (first * part_.weight_rows + static_cast<long long>(row_) * Net::bias(l));
  }

  // Neighbouring threads take neighbouring rows of the inputs, which lie in different banks.
  template <int l>
  PMP_INLINE void add_sums(const T* delta, const T* input, T time) const {
    constexpr MlpLayer layer = Net::layer(l);
    constexpr BlockTile tile = block_tile(layer.out, layer.in, threads);
    constexpr int M = tile.rows, N = tile.columns, down = (layer.out + M - 1) / M, across = (layer.in + N - 1) / N;
    T* const to = weight_sums<l>();
    PMP_DEVICE_ROLLED
    for (int task = rows.thread(); task < down * across; task += threads) {
      const int j = task / across, k = task % across;
      const T *a[M], *b[N];
      PMP_UNROLL
      for (int m = 0; m < M; ++m) a[m] = delta + (j + m * down < layer.out ? j + m * down : 0) * width;
      PMP_UNROLL
      for (int n = 0; n < N; ++n) b[n] = input + (k + n * across < layer.in ? k + n * across : 0) * width;
      T y[M][N] = {};
      add_outer<lanes>(y, a, b);
      PMP_UNROLL
      for (int m = 0; m < M; ++m) {
        PMP_UNROLL
        for (int n = 0; n < N; ++n)
          if (j + m * down < layer.out && k + n * across < layer.in)
            to[(j + m * down) * layer.columns() + k + n * across] += y[m][n];
      }
    }
    if constexpr (layer.bias || layer.timed) {
      PMP_DEVICE_ROLLED
      for (int j = rows.thread(); j < layer.out; j += threads) {
        T sum(0);
        PMP_DEVICE_ROLLED
        for (int lane = 0; lane < lanes; lane += 4) {
          const auto four = Group<T, 4>::load(delta + j * width + lane);
          sum += (four.v[0] + four.v[1]) + (four.v[2] + four.v[3]);
        }
        if constexpr (layer.bias) bias_sums<l>()[j] += sum;
        if constexpr (layer.timed) to[j * layer.columns() + layer.in] += sum * time;
      }
    }
  }

  // The sums of a row of weights to the block's own in memory; every thread has met the others before.
  PMP_INLINE void flush() {
    if (near_sums && summed_) flush_from<0>();
    summed_ = false;
  }
  template <int l>
  PMP_INLINE void flush_from() const {
    const auto flush = [&](int first, int size) PMP_INLINE_LAMBDA {
      T* const to = part_.sums + (first * part_.weight_rows + static_cast<long long>(row_) * size);
      PMP_DEVICE_UNROLL(4)
      for (int i = rows.thread(); i < size; i += threads) to[i] += sums_[first + i], sums_[first + i] = T(0);
    };
    flush(Net::first(l), Net::weights(l));
    flush(Net::first(l) + Net::weights(l), Net::bias(l));
    if constexpr (l + 1 < Net::layers) flush_from<l + 1>();
  }

  const MlpPart<T>& part_;
  T* const stage_;
  Weights weights_;
  T* const sums_;
  int row_ = -1;
  bool summed_ = false;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
