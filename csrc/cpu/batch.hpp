// A batch of sweeps: its blocks, given to threads, each with a workspace.
//
// Sums over the batch (the derivative in a control that the problems share) are made chunk by chunk and then added in the
// order of the chunks, so that they do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "cpu/blocks.hpp"
#include "cpu/workspace.hpp"
#include "pontryagin/job.hpp"

namespace pontryagin {

// run_block(job, block, workspace) sweeps one block. `control_size` is K m. Returns false if it was interrupted; the
// outputs are then incomplete.
template <class T, class RunBlock>
bool run_batch(const SweepJob<T>& job, long batch, long control_size, Widths widths, double work, int threads,
               Interrupted interrupted, BatchWorkspaces& workspaces, RunBlock run_block) {
  const bool sum_control = job.control_derivative != nullptr && job.control_stride == 0;
  const Chunks chunks(batch, widths);
  std::unique_ptr<Workspace> partials;
  T* sums = nullptr;
  if (sum_control) {
    partials = workspaces.sums.take();
    const long count = std::max(1L, control_size * chunks.count());
    sums = static_cast<T*>(partials->reserve(static_cast<std::size_t>(count) * sizeof(T)));
    std::fill(sums, sums + count, T(0));
  }
  const auto body = [&](int chunk) {
    SweepJob<T> part = job;
    if (sum_control) part.control_derivative = sums + control_size * chunk;
    std::unique_ptr<Workspace> workspace = workspaces.blocks.take();
    for (long i = chunks.first(chunk); i < chunks.first(chunk + 1); ++i) run_block(part, chunks.block(i), *workspace);
    workspaces.blocks.give(std::move(workspace));
  };
  const bool completed = for_each_chunk(chunks, work, threads, interrupted, body);
  if (sum_control) {
    std::fill(job.control_derivative, job.control_derivative + control_size, T(0));
    for (int chunk = 0; chunk < chunks.count(); ++chunk)
      for (long i = 0; i < control_size; ++i) job.control_derivative[i] += sums[control_size * chunk + i];
    workspaces.sums.give(std::move(partials));
  }
  return completed;
}

}  // namespace pontryagin
