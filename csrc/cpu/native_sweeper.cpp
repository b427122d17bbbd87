#include "cpu/native_sweeper.hpp"

#include <stdexcept>
#include <string>

#include "cpu/batch.hpp"

namespace pontryagin {

NativeSweeper::NativeSweeper(const NativeTable* table) : table_(table) {
  if (table == nullptr) throw std::invalid_argument("native library: no table");
  if (table->border != native_border)
    throw std::invalid_argument("native library: version " + std::to_string(table->border) +
                                " of the border, expected " + std::to_string(native_border));
}

template <class T>
bool NativeSweeper::run(const SweepJob<T>& job, long batch, int threads, Interrupted interrupted) {
  if (table_->float_bits != 8 * static_cast<int>(sizeof(T)))
    throw std::invalid_argument("native library: compiled for float" + std::to_string(table_->float_bits));
  const int wide = kernel<T>(1).lanes;
  const long control_size = (job.steps + static_cast<long>(table_->control_nodes)) * table_->m;
  const double work = static_cast<double>(batch) * job.steps * (4.0 * table_->n + table_->m + 4.0);
  return run_batch(job, batch, control_size, {kernel<T>(0).lanes, wide, wide}, work, threads, interrupted, workspaces_,
                   [&](const SweepJob<T>& part, const Block& block, Workspace& workspace) {
                     const NativeKernel<T>& k = kernel<T>(block.choice == 0 ? 0 : 1);
                     const long slots = k.workspace_slots(part);
                     void* memory = workspace.reserve(static_cast<std::size_t>(slots) * sizeof(T));
                     k.sweep(part, block.first, block.count, memory);
                   });
}

template <class T>
long NativeSweeper::workspace_bytes(const SweepJob<T>& job) const {
  return kernel<T>(1).workspace_slots(job) * static_cast<long>(sizeof(T));
}

template bool NativeSweeper::run(const SweepJob<double>&, long, int, Interrupted);
template bool NativeSweeper::run(const SweepJob<float>&, long, int, Interrupted);
template long NativeSweeper::workspace_bytes(const SweepJob<double>&) const;
template long NativeSweeper::workspace_bytes(const SweepJob<float>&) const;

}  // namespace pontryagin
