// Sweeps of a multilayer perceptron over a batch on a GPU: each block of threads takes tiles of samples, one after the
// other, and has sums of its own, which are added up afterwards in the order of the blocks.
//
// Request concept, known when the kernel is compiled: Scalar, shape (mlp.hpp), lanes (samples of a tile), panel and
// near_sums (mlp_block_field.hpp).
#pragma once

#include "mlp_block_field.hpp"
#include "mlp_sweep.hpp"
#include "thread_block.hpp"

namespace pontryagin {

// Plain data in the caller's layout (mlp_job in pontryagin/backend/cuda_launch.py). A null pointer is "not given" for an
// input and "not wanted" for an output.
template <class T, int layers>
struct DeviceMlpJob {
  long long batch = 0;        // B
  long long steps = 0;        // N
  long long segment = 0;      // S: steps on the tape
  long long weight_rows = 0;  // R
  long long backward = 0;     // gradients are wanted
  long long kept = 0;         // the tape is that of the whole way forward of every tile
  long long replay = 0;       // it holds that already
  double state_cost = 0.0;
  double velocity_cost = 0.0;
  double scale = 0.0;
  double cost_scale = 0.0;
  const double* start = nullptr;   // [N] time at which a step begins
  const double* length = nullptr;  // [N]
  const int* rows = nullptr;       // [N][s] the row of weights of each stage
  // arguments
  const T* initial_state = nullptr;   // [B][D]
  const T* final_costate = nullptr;   // [B][D]
  const T* target = nullptr;          // [B][D]
  const T* cost_cotangent = nullptr;  // [B]
  // workspace
  T* tape = nullptr;        // [blocks][S][s][record], or [tiles][N][s][record] where it is kept
  T* starts = nullptr;      // [blocks][ceil(N/S)][D][width], where S < N
  T* sums = nullptr;        // [blocks][parameters], those of all rows after each other; zero before
  double* value = nullptr;  // [blocks]; zero before
  // results
  T* final_state = nullptr;       // [B][D]
  T* cost = nullptr;              // [B]
  T* initial_gradient = nullptr;  // [B][D]
  // parameters
  const T* weights[layers] = {};  // [R][out][columns]
  const T* bias[layers] = {};     // [R][out]
  Tableau tableau;
};

inline namespace PMP_ISA {

// What tiles of a net need to know of its shape; `net` where the Field does not know it by itself.
template <class T>
struct DeviceTiles {
  const MlpNet* net;
  int dim, record_rows;
  long long parameters;
};

// Tiles number `index`, `index` + `blocks`, ..., worked on in `memory`.
template <class Field, class Block, class T, int layers>
PMP_INLINE void sweep_tiles_of(const DeviceMlpJob<T, layers>& job, const DeviceTiles<T>& shape, Block block, T* memory,
                               long long index, long long blocks) {
  using Rows = typename Field::Rows;
  constexpr int lanes = Rows::lanes;
  const long long record = static_cast<long long>(shape.record_rows) * Rows::width;

  MlpJob<T> sweep;
  sweep.net = shape.net;
  sweep.tableau = &job.tableau;
  sweep.running = {job.state_cost, job.velocity_cost};
  sweep.steps = static_cast<int>(job.steps);
  sweep.start = job.start, sweep.length = job.length, sweep.rows = job.rows;
  sweep.weights = {job.weights, job.bias};
  sweep.initial_state = job.initial_state;
  sweep.final_costate = job.final_costate, sweep.target = job.target, sweep.cost_cotangent = job.cost_cotangent;
  sweep.scale = job.scale, sweep.cost_scale = job.cost_scale;
  sweep.backward = job.backward != 0, sweep.replay = job.replay != 0;
  sweep.final_state = job.final_state, sweep.cost = job.cost, sweep.initial_gradient = job.initial_gradient;

  MlpPart<T> part;
  part.segment = static_cast<int>(job.segment);
  part.weight_rows = job.weight_rows;
  const long long tape_size = job.segment * job.tableau.stages * record;
  if (job.starts) {
    const long long segments = (job.steps + job.segment - 1) / job.segment;
    part.starts = job.starts + index * segments * shape.dim * Rows::width;
  }
  if (job.sums) part.sums = job.sums + index * job.weight_rows * shape.parameters;
  if (job.value) part.value = job.value + index;
  part.workspace = memory + Rows::scratch_size;

  for (long long tile = index; tile * lanes < job.batch; tile += blocks) {
    const long long left = job.batch - tile * lanes;
    part.first = static_cast<long>(tile * lanes);
    part.count = left < lanes ? static_cast<int>(left) : lanes;
    if (job.tape) part.tape = job.tape + (job.kept ? tile : index) * tape_size;
    MlpSweep<Field>::run(sweep, part, Rows(block, memory));
    block.meet();
  }
}

// Block number `index` of `blocks`.
template <class Request, class Block, class T, int layers>
PMP_INLINE void sweep_tiles(const DeviceMlpJob<T, layers>& job, Block block, long long index, long long blocks) {
  constexpr MlpNet net = Request::shape.net;
  const DeviceTiles<T> shape{nullptr, net.dim, net.record_rows, BlockNet<Request>::parameters};
  sweep_tiles_of<BlockField<Request, Block>>(job, shape, block, block.template memory<T>(), index, blocks);
}

// Bytes of shared memory of a block.
template <class Request, class Block>
inline long block_bytes(const Tableau& tableau) {
  using Field = BlockField<Request, Block>;
  MlpJob<typename Field::T> job;
  job.tableau = &tableau;
  const long scratch = Field::Rows::scratch_size * static_cast<long>(sizeof(typename Field::T));
  return scratch + MlpSweep<Field>::workspace_bytes(job, false);
}

}  // namespace PMP_ISA

}  // namespace pontryagin
