// Multilayer perceptrons as vector fields, as data:  z_0 = [x; t],  z_l = sigma_l(W_l z_{l-1} + b_l),  f(t, x) = z_Lambda.
//
// Time is the last column of the first layer, where the net takes it. Weights may differ from stage to stage: each
// parameter is an array of rows, and a table says which row a stage of a step uses.
//
// A block of W lanes keeps, for each stage, a record of rows of W numbers: the state, and for each layer what the way
// back needs of it: its output z_l, and the slope sigma_l' where the output does not tell it.
//
// Sums over the batch are made in two ways. A narrow layer adds up in one vector register for each parameter, whose
// lanes are summed at last; a wide one takes the product of two matrices over the lanes, of which the narrower is
// transposed for it. One row of sums holds, in this order,
//
//     one number for each lane accumulator    the matrices of wide layers, one after the other
#pragma once

#include "macros.hpp"

namespace pontryagin {

enum class Activation : int { identity, tanh, relu, gelu, gelu_tanh, silu, softplus, sin };

constexpr int activation_count = 8;

// Whether sigma' is kept on the way forward; otherwise the output tells it.
PMP_HD constexpr bool keeps_slope(Activation activation) {
  return activation != Activation::identity && activation != Activation::tanh && activation != Activation::relu;
}

// Up to this width of either side, a layer is narrow.
constexpr int narrow_layer = 6;

struct MlpLayer {
  int in = 0, out = 0;  // `in` without time
  Activation activation = Activation::identity;
  bool bias = false, timed = false;
  // rows of a stage's record; -1 for what is not kept
  int output_row = -1, slope_row = -1;
  // Sums. Lane accumulators of a narrow layer: W [out][columns], b [out]; of a wide one: b [out], W's column of time [out].
  int lane_first = 0;
  bool narrow = false, by_input = false;  // wide: the matrix is [out][in] by input, [in][out] otherwise
  long matrix = 0;                        // where it begins in a row of sums
  int matrix_stride = 0;

  PMP_HD constexpr int columns() const { return in + timed; }
};

struct MlpNet {
  const MlpLayer* layers = nullptr;
  int layer_count = 0, dim = 0;
  int widest = 0;         // of all outputs of layers, and dim
  int record_rows = 0;    // of a stage
  int lane_count = 0;     // lane accumulators
  long row_size = 0;      // numbers in a row of sums
  int widest_matrix = 0;  // longest stride of the matrices of wide layers
  PMP_HD constexpr int velocity_row() const { return layers[layer_count - 1].output_row; }  // -1 where it is not kept
};

// Parameters: layer l, row r at weights[l] + r * out * columns, bias[l] + r * out.
template <class T>
struct MlpWeights {
  const T* const* weights = nullptr;
  const T* const* bias = nullptr;  // null where the layer has none
};

// One hidden layer between few components runs through its hidden units one by one, all in registers.
constexpr int most_narrow_dim = 4;
inline bool is_narrow(const MlpNet& net) {
  return net.layer_count == 2 && net.dim <= most_narrow_dim && net.layers[1].activation == Activation::identity;
}

// Fills in what follows from the sizes. `velocity_kept`: the running cost needs f on the way back.
PMP_HD constexpr void arrange_layers(MlpNet& net, MlpLayer* layers, int count, bool velocity_kept, int line) {
  net.layer_count = count;
  net.dim = net.widest = layers[0].in;
  net.record_rows = net.dim;
  net.lane_count = 0;
  net.widest_matrix = 0;
  for (int l = 0; l < count; ++l) {
    MlpLayer& layer = layers[l];
    const bool last = l + 1 == count,
               from_output = !keeps_slope(layer.activation) && layer.activation != Activation::identity;
    if (layer.out > net.widest) net.widest = layer.out;
    layer.output_row = layer.slope_row = -1;
    if (!last || velocity_kept || from_output) layer.output_row = net.record_rows, net.record_rows += layer.out;
    if (keeps_slope(layer.activation)) layer.slope_row = net.record_rows, net.record_rows += layer.out;
    layer.narrow = layer.in <= narrow_layer || layer.out <= narrow_layer;
    layer.lane_first = net.lane_count;
    if (layer.narrow) net.lane_count += layer.out * (layer.columns() + layer.bias);
    else net.lane_count += layer.out * (int(layer.bias) + int(layer.timed));
  }
  const auto padded = [line](long size) { return (size + line - 1) / line * line; };
  net.row_size = padded(net.lane_count);
  for (int l = 0; l < count; ++l) {
    MlpLayer& layer = layers[l];
    if (layer.narrow) continue;
    layer.by_input = layer.in <= layer.out;
    layer.matrix = net.row_size;
    layer.matrix_stride = static_cast<int>(padded(layer.by_input ? layer.in : layer.out));
    if (layer.matrix_stride > net.widest_matrix) net.widest_matrix = layer.matrix_stride;
    net.row_size += static_cast<long>(layer.by_input ? layer.out : layer.in) * layer.matrix_stride;
  }
}

inline void arrange(MlpNet& net, MlpLayer* layers, int count, bool velocity_kept, int line) {
  arrange_layers(net, layers, count, velocity_kept, line);
  net.layers = layers;
}

// A net whose sizes are constants of the program.
template <int count>
struct MlpShape {
  MlpLayer layers[count];
  MlpNet net = {};  // without its pointer to the layers
  PMP_HD constexpr int velocity_row() const { return layers[count - 1].output_row; }
};
template <int count>
PMP_HD constexpr MlpShape<count> arranged(MlpShape<count> shape, bool velocity_kept) {
  arrange_layers(shape.net, shape.layers, count, velocity_kept, 1);
  return shape;
}

}  // namespace pontryagin
