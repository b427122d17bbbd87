// Sweeps of any multilayer perceptron on a GPU, its shape a part of the argument (mlp_any_field.hpp).
#pragma once

#include "device_mlp.hpp"
#include "mlp_any_field.hpp"

namespace pontryagin {

// Layers that the argument of a kernel has room for.
constexpr int most_layers = 8;

// Every field has 8 bytes (AnyMlpJob in pontryagin/backend/cuda_ahead_mlp.py).
template <class T>
struct DeviceAnyMlpJob {
  DeviceMlpJob<T, most_layers> sweep;
  long long layers = 0;
  long long timed = 0;          // the first layer takes the time as its last column
  long long velocity_kept = 0;  // the running cost needs f on the way back
  long long widths[most_layers + 1] = {};
  long long activations[most_layers] = {};
  long long biased[most_layers] = {};
};

// The shape as sweeps want it; it lies in shared memory.
struct alignas(16) DeviceNet {
  MlpNet net;
  MlpLayer layers[most_layers];
};

inline namespace PMP_ISA {

template <class T>
PMP_INLINE void arrange_net(const DeviceAnyMlpJob<T>& job, DeviceNet& to) {
  const int count = static_cast<int>(job.layers);
  PMP_ROLLED
  for (int l = 0; l < count; ++l) {
    MlpLayer layer;
    layer.in = static_cast<int>(job.widths[l]), layer.out = static_cast<int>(job.widths[l + 1]);
    layer.activation = static_cast<Activation>(job.activations[l]);
    layer.bias = job.biased[l] != 0, layer.timed = l == 0 && job.timed != 0;
    to.layers[l] = layer;
  }
  to.net = MlpNet();
  arrange_layers(to.net, to.layers, count, job.velocity_kept != 0, 1);
  to.net.layers = to.layers;
}

// Block number `index` of `blocks`.
template <int lanes, class Block, class T>
PMP_INLINE void sweep_any_tiles(const DeviceAnyMlpJob<T>& job, Block block, long long index, long long blocks) {
  DeviceNet* const shape = block.template memory<DeviceNet>();
  if (block.thread() == 0) arrange_net(job, *shape);
  block.meet();
  long long parameters = 0;
  PMP_ROLLED
  for (int l = 0; l < shape->net.layer_count; ++l) {
    const MlpLayer& layer = shape->layers[l];
    parameters += static_cast<long long>(layer.out) * (layer.columns() + layer.bias);
  }
  const DeviceTiles<T> tiles{&shape->net, shape->net.dim, shape->net.record_rows, parameters};
  sweep_tiles_of<AnyField<T, lanes, Block>>(job.sweep, tiles, block, reinterpret_cast<T*>(shape + 1), index, blocks);
}

// Bytes of shared memory of a block.
template <int lanes, class Block, class T>
inline long any_block_bytes(const DeviceAnyMlpJob<T>& job) {
  using Field = AnyField<T, lanes, Block>;
  DeviceNet shape;
  arrange_net(job, shape);
  MlpJob<T> sweep;
  sweep.net = &shape.net, sweep.tableau = &job.sweep.tableau;
  return static_cast<long>(sizeof(DeviceNet) + Field::Rows::scratch_size * sizeof(T)) +
         MlpSweep<Field>::workspace_bytes(sweep, false);
}

}  // namespace PMP_ISA
}  // namespace pontryagin
