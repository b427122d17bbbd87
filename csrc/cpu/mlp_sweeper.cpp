#include "cpu/mlp_sweeper.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "cpu/kernels.hpp"

namespace pontryagin {

#define PMP_DECLARE(isa) MlpKernelSet mlp_kernel_set_##isa();
#ifdef PMP_HAVE_V4
PMP_DECLARE(v4)
#endif
#ifdef PMP_HAVE_V3
PMP_DECLARE(v3)
#endif
#ifdef PMP_HAVE_V2
PMP_DECLARE(v2)
#endif
#ifdef PMP_HAVE_GENERIC
PMP_DECLARE(generic)
#endif
#undef PMP_DECLARE

namespace {

MlpKernelSet choose() {
  const char* const name = kernel_set().name;
  (void)name;
#ifdef PMP_HAVE_V4
  if (std::strcmp(name, "x86-64-v4") == 0) return mlp_kernel_set_v4();
#endif
#ifdef PMP_HAVE_V3
  if (std::strcmp(name, "x86-64-v3") == 0) return mlp_kernel_set_v3();
#endif
#ifdef PMP_HAVE_V2
  return mlp_kernel_set_v2();
#else
  return mlp_kernel_set_generic();
#endif
}

// The cut of a batch into blocks of lanes, and of the blocks into chunks. Each chunk has sums of its own, which are
// added up afterwards: where they are large, few chunks, each with so many blocks that adding up costs little beside.
struct Cut {
  Chunks blocks;
  long block_count;
  Chunks chunks;

  Cut(long batch, Widths widths, double sum_bytes)
      : blocks(batch, widths), block_count(blocks.first(blocks.count())), chunks(chunk_count(sum_bytes), {1, 1, 1}) {}
  long first(int chunk) const { return block_count * chunk / chunks.count(); }

 private:
  long chunk_count(double sum_bytes) const {
    constexpr double all_sums = 4e6;
    constexpr long blocks_per_chunk = 8;
    const long most = blocks.count();
    const double wanted = sum_bytes > 0.0 ? all_sums / sum_bytes : most;
    const long least = std::max(4L, block_count / blocks_per_chunk);
    return std::min(most, std::max(least, static_cast<long>(std::min<double>(wanted, most))));
  }
};

// to += from, row by row of the caller's arrays
template <class T>
void unpack(const MlpNet& net, const T* sums, long row, const MlpGradient<T>& gradient) {
  for (int l = 0; l < net.layer_count; ++l) {
    const MlpLayer& layer = net.layers[l];
    const int columns = layer.columns();
    T* const w = gradient.weights[l] + row * layer.out * columns;
    const T* const lanes = sums + layer.lane_first;
    const T* bias = lanes;
    if (layer.narrow) {
      std::copy(lanes, lanes + layer.out * columns, w);
      bias = lanes + layer.out * columns;
    } else {
      const T* const matrix = sums + layer.matrix;
      const long row_step = layer.by_input ? layer.matrix_stride : 1,
                 column_step = layer.by_input ? 1 : layer.matrix_stride;
      for (int j = 0; j < layer.out; ++j)
        for (int k = 0; k < layer.in; ++k)
          w[static_cast<long>(j) * columns + k] = matrix[j * row_step + k * column_step];
      if (layer.timed) {
        const T* const timed = lanes + (layer.bias ? layer.out : 0);
        for (int j = 0; j < layer.out; ++j) w[static_cast<long>(j) * columns + layer.in] = timed[j];
      }
    }
    if (layer.bias) std::copy(bias, bias + layer.out, gradient.bias[l] + row * layer.out);
  }
}

}  // namespace

const MlpKernelSet& mlp_kernel_set() {
  static const MlpKernelSet set = choose();
  return set;
}

MlpSweeper::MlpSweeper(const std::vector<int>& widths, const std::vector<int>& activations,
                       const std::vector<bool>& bias, bool time, const Tableau& tableau, const MlpCost& running)
    : tableau_(tableau), running_(running) {
  const int count = static_cast<int>(activations.size());
  for (int l = 0; l < count; ++l) {
    MlpLayer layer;
    layer.in = widths[l], layer.out = widths[l + 1];
    layer.activation = static_cast<Activation>(activations[l]);
    layer.bias = bias[l], layer.timed = time && l == 0;
    parameters_ += static_cast<double>(layer.out) * (layer.columns() + layer.bias);
    single_layers_.push_back(layer);
  }
  double_layers_ = single_layers_;
  arrange(single_, single_layers_.data(), count, running.velocity != 0.0, 16);
  arrange(double_, double_layers_.data(), count, running.velocity != 0.0, 8);
}

template <class T>
const MlpKernelPair<T>& MlpSweeper::kernels() const {
  const MlpKernels<T>* set;
  if constexpr (std::is_same<T, float>::value) set = &mlp_kernel_set().f32;
  else set = &mlp_kernel_set().f64;
  return is_narrow(net<T>()) ? set->narrow[net<T>().dim - 1] : set->layered;
}

template <class T>
long MlpSweeper::tape_bytes(long batch, int steps) const {
  const long lanes = kernels<T>().many.lanes, rounded = (batch + lanes - 1) / lanes * lanes;
  return rounded * steps * tableau_.stages * net<T>().record_rows * static_cast<long>(sizeof(T));
}

template <class T>
bool MlpSweeper::run(MlpJob<T> job, long batch, int weight_rows, const MlpGradient<T>& gradient, double* value, T* tape,
                     int threads, Interrupted interrupted) {
  const MlpNet& net = this->net<T>();
  job.net = &net, job.tableau = &tableau_, job.running = running_;
  const MlpKernelPair<T>& kernels = this->kernels<T>();
  // The time at which each step begins, summed up in double precision.
  std::unique_ptr<Workspace> times = times_.take();
  double* const start = static_cast<double*>(times->reserve(static_cast<std::size_t>(job.steps) * sizeof(double)));
  double t = job.t0;
  for (int n = 0; n < job.steps; ++n) start[n] = t, t += job.length[n];
  job.start = start;

  const long sums_size = job.backward ? net.row_size * weight_rows : 0;
  const Cut cut(batch, {kernels.few.lanes, kernels.few.lanes, kernels.many.lanes},
                static_cast<double>(sums_size) * sizeof(T));
  const int chunk_count = batch == 0 ? 0 : cut.chunks.count();
  const long tape_lane = static_cast<long>(job.steps) * tableau_.stages * net.record_rows;

  std::unique_ptr<Workspace> sums_memory;
  T* sums = nullptr;
  if (job.backward) {
    sums_memory = workspaces_.sums.take();
    sums = static_cast<T*>(
        sums_memory->reserve(static_cast<std::size_t>(sums_size * std::max(1, chunk_count)) * sizeof(T)));
    if (chunk_count == 0) std::fill(sums, sums + sums_size, T(0));
  }
  std::array<double, 64> values{};
  bool completed = true;
  if (chunk_count > 0) {
    const auto body = [&](int chunk) {
      MlpPart<T> part;
      if (job.backward) {
        part.sums = sums + sums_size * chunk;
        std::fill(part.sums, part.sums + sums_size, T(0));
      }
      double chunk_value = 0.0;
      part.value = &chunk_value;
      std::unique_ptr<Workspace> workspace = workspaces_.blocks.take();
      // The larger of the two, so that no later block makes it grow.
      const long bytes = std::max(kernels.few.workspace_bytes(job, tape == nullptr),
                                  kernels.many.workspace_bytes(job, tape == nullptr));
      part.workspace = workspace->reserve(static_cast<std::size_t>(bytes));
      for (long i = cut.first(chunk); i < cut.first(chunk + 1); ++i) {
        const Block block = cut.blocks.block(i);
        part.first = block.first, part.count = block.count;
        part.tape = tape ? tape + block.first * tape_lane : nullptr;
        (block.choice == 2 ? kernels.many : kernels.few).run(job, part);
      }
      values[static_cast<std::size_t>(chunk)] = chunk_value;
      workspaces_.blocks.give(std::move(workspace));
    };
    const double work = static_cast<double>(batch) * job.steps * tableau_.stages * parameters_;
    completed = for_each_chunk(cut.chunks, work, threads, interrupted, body);
  }
  if (value) {
    *value = 0.0;
    for (int chunk = 0; chunk < chunk_count; ++chunk) *value += values[static_cast<std::size_t>(chunk)];
  }
  if (job.backward) {
    const auto add_row = [&](long row) {
      T* const to = sums + row * net.row_size;
      for (int chunk = 1; chunk < chunk_count; ++chunk) {
        const T* const from = to + sums_size * chunk;
        for (long i = 0; i < net.row_size; ++i) to[i] += from[i];
      }
      unpack(net, to, row, gradient);
    };
    const Chunks parts(weight_rows, {1, 1, 1});
    const auto add_rows = [&](int part) {
      for (long row = parts.first(part); row < parts.first(part + 1); ++row) add_row(row);
    };
    const double work = static_cast<double>(sums_size) * std::max(1, chunk_count);
    if (completed) completed = for_each_chunk(parts, work, threads, nullptr, add_rows);
    workspaces_.sums.give(std::move(sums_memory));
  }
  times_.give(std::move(times));
  return completed;
}

template bool MlpSweeper::run(MlpJob<double>, long, int, const MlpGradient<double>&, double*, double*, int,
                              Interrupted);
template bool MlpSweeper::run(MlpJob<float>, long, int, const MlpGradient<float>&, double*, float*, int, Interrupted);
template long MlpSweeper::tape_bytes<double>(long, int) const;
template long MlpSweeper::tape_bytes<float>(long, int) const;

}  // namespace pontryagin
