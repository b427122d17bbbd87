// Sweeps by a library that was compiled for one model and request (see pontryagin/model_sweep.hpp).
#pragma once

#include "cpu/blocks.hpp"
#include "cpu/workspace.hpp"
#include "pontryagin/native_table.hpp"

namespace pontryagin {

class NativeSweeper {
 public:
  // The table stays where it is: the library that holds it must outlive this. Throws std::invalid_argument for a table of
  // another version.
  explicit NativeSweeper(const NativeTable* table);

  // Returns false if it was interrupted; the outputs are then incomplete. T is what the library was compiled for.
  template <class T>
  bool run(const SweepJob<T>& job, long batch, int threads, Interrupted interrupted);

  const NativeTable& table() const { return *table_; }

  // Bytes of the workspace that one block of the widest kernel takes.
  template <class T>
  long workspace_bytes(const SweepJob<T>& job) const;

 private:
  template <class T>
  const NativeKernel<T>& kernel(int choice) const {
    return static_cast<const NativeKernel<T>*>(table_->kernels)[choice];
  }
  const NativeTable* table_;
  BatchWorkspaces workspaces_;
};

}  // namespace pontryagin
