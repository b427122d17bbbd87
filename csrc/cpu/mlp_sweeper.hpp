// Sweeps of one multilayer perceptron over batches: blocks of lanes, given to threads, each with a workspace.
//
// The derivative in the weights is summed chunk by chunk, and the chunks in their order, so that it does not depend on
// the number of threads.
#pragma once

#include <vector>

#include "cpu/blocks.hpp"
#include "cpu/mlp_kernels.hpp"
#include "cpu/workspace.hpp"

namespace pontryagin {

// Where the derivatives in the weights go: layer l at weights[l] [R][out][columns] and bias[l] [R][out].
template <class T>
struct MlpGradient {
  T* const* weights = nullptr;
  T* const* bias = nullptr;
};

class MlpSweeper {
 public:
  MlpSweeper(const std::vector<int>& widths, const std::vector<int>& activations, const std::vector<bool>& bias,
             bool time, const Tableau& tableau, const MlpCost& running);
  MlpSweeper(const MlpSweeper&) = delete;
  MlpSweeper& operator=(const MlpSweeper&) = delete;

  // `tape` holds the way forward of the whole batch, tape_bytes long and aligned to 64 bytes, or is null. Returns false
  // if it was interrupted; the results are then incomplete. `value` receives the loss where a target is given.
  template <class T>
  bool run(MlpJob<T> job, long batch, int weight_rows, const MlpGradient<T>& gradient, double* value, T* tape,
           int threads, Interrupted interrupted);

  template <class T>
  long tape_bytes(long batch, int steps) const;

 private:
  template <class T>
  const MlpNet& net() const {
    return sizeof(T) == 4 ? single_ : double_;
  }
  template <class T>
  const MlpKernelPair<T>& kernels() const;

  Tableau tableau_;
  MlpCost running_;
  std::vector<MlpLayer> single_layers_, double_layers_;
  MlpNet single_, double_;
  double parameters_ = 0.0;  // of one row
  BatchWorkspaces workspaces_;
  WorkspacePool times_;
};

}  // namespace pontryagin
