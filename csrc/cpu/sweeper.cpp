#include "cpu/sweeper.hpp"

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "cpu/batch.hpp"
#include "cpu/link.hpp"

namespace pontryagin {

namespace {

template <class T>
constexpr int dtype_index = std::is_same<T, float>::value ? 1 : 0;

template <class T>
const LaneKernel<T>& lane_kernel(int choice) {
  if constexpr (std::is_same<T, float>::value) return kernel_set().f32[choice];
  else return kernel_set().f64[choice];
}

template <class T>
Widths widths() {
  return {lane_kernel<T>(0).lanes, lane_kernel<T>(1).lanes, lane_kernel<T>(2).lanes};
}

}  // namespace

Sweeper::Sweeper(const ModelCode& code, const Tableau& tableau, double t0, const SweepRequest& request)
    : programs_(make_sweep_programs(code, tableau, t0, request)) {}

template <class T>
const LinkedSweep& Sweeper::linked_for(int choice) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Code& code = code_[dtype_index<T>][choice];
  if (code.ready) return code.linked;
  const LaneKernel<T>& kernel = lane_kernel<T>(choice);
  const LinkTarget target{kernel.handlers,
                          kernel.lanes,
                          static_cast<int>(sizeof(T)),
                          programs_.fixed.count,
                          programs_.record.count,
                          programs_.fixed.constants,
                          static_cast<int>(programs_.constants.size())};
  code.prologue = link(programs_.prologue, target);
  const FixedSlots& f = programs_.fixed;
  const RecordSlots& r = programs_.record;
  LinkedSweep& l = code.linked;
  l.prologue = code.prologue.data();
  for (int parity = 0; parity < 2; ++parity) {
    code.forward[parity] = link(programs_.forward, target, parity);
    code.terminal[parity] = link(programs_.terminal, target, parity);
    code.backward[parity] = link(programs_.backward, target, parity);
    l.forward[parity] = code.forward[parity].data();
    l.terminal[parity] = code.terminal[parity].data();
    l.backward[parity] = code.backward[parity].data();
  }
  l.constants = programs_.constants.data(), l.constant_count = static_cast<int>(programs_.constants.size());
  const ModelSizes& s = programs_.sizes;
  l.n = s.n, l.m = s.m, l.q = s.q, l.nd = s.nd, l.r = s.r;
  l.linear_control = programs_.request.linear_control, l.linear_data = programs_.request.linear_data;
  l.with_backward = programs_.request.backward, l.extended = programs_.request.extended;
  l.uniform = programs_.request.uniform, l.head_count = r.cut;
  l.timed = reads(programs_.forward, {Bank::fixed, f.t}) || reads(programs_.backward, {Bank::fixed, f.t});
  l.span = f.span, l.h = f.h, l.t = f.t, l.omega_0 = f.omega_0, l.cost = f.cost, l.objective = f.objective;
  l.lagrangian = f.lagrangian, l.span_adjoint = f.span_adjoint, l.theta = f.theta, l.theta_adjoint = f.theta_adjoint;
  l.nu = f.nu, l.rho = f.rho, l.e = f.e, l.first_constant = f.constants, l.fixed_count = f.count;
  l.x = r.x, l.u = r.u, l.d = r.d, l.p = r.p, l.u_adjoint = r.u_adjoint, l.x_cotangent = r.x_cotangent;
  l.record_count = r.count;
  code.ready = true;
  return l;
}

template <class T>
bool Sweeper::run(const SweepJob<T>& job, long batch, int threads, Interrupted interrupted) {
  const ModelSizes& s = programs_.sizes;
  const long control_size = (job.steps + (programs_.request.linear_control ? 1L : 0L)) * s.m;
  const double scalars_per_step = static_cast<double>(programs_.record.count) + 8.0;
  const double work = static_cast<double>(batch) * job.steps * scalars_per_step;
  return run_batch(job, batch, control_size, widths<T>(), work, threads, interrupted, workspaces_,
                   [&](const SweepJob<T>& part, const Block& block, Workspace& workspace) {
                     const LaneKernel<T>& kernel = lane_kernel<T>(block.choice);
                     const LinkedSweep& linked = linked_for<T>(block.choice);
                     const std::size_t slots =
                         block_slots(kernel.lanes, linked.fixed_count, linked.record_count, job.steps + 1L);
                     void* memory = workspace.reserve(slots * sizeof(T) * static_cast<std::size_t>(kernel.lanes));
                     kernel.sweep(part, linked, block.first, block.count, memory);
                   });
}

PointEvaluator::PointEvaluator(const ModelCode& code) : programs_(make_point_programs(code)) {}

template <class T>
const LinkedPoints& PointEvaluator::linked_for(int choice) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Code& code = code_[dtype_index<T>][choice];
  if (code.ready) return code.linked;
  const LaneKernel<T>& kernel = lane_kernel<T>(choice);
  code.program = link(programs_.program, {kernel.handlers, kernel.lanes, static_cast<int>(sizeof(T)),
                                          programs_.fixed_count, programs_.record_count, programs_.constants_first,
                                          static_cast<int>(programs_.constants.size())});
  const PointPrograms& p = programs_;
  LinkedPoints& l = code.linked;
  l.program = code.program.data();
  l.constants = p.constants.data(), l.constant_count = static_cast<int>(p.constants.size());
  l.n = p.sizes.n, l.m = p.sizes.m, l.q = p.sizes.q, l.nd = p.sizes.nd;
  l.theta = p.theta, l.first_constant = p.constants_first, l.fixed_count = p.fixed_count;
  l.t = p.t, l.x = p.x, l.p = p.p, l.u = p.u, l.d = p.d, l.h = p.h, l.h_x = p.h_x, l.h_u = p.h_u;
  l.record_count = p.record_count;
  code.ready = true;
  return l;
}

template <class T>
bool PointEvaluator::run(const PointJob<T>& job, long count, int threads, Interrupted interrupted) {
  const Chunks chunks(count, widths<T>());
  const double work = static_cast<double>(count) * (programs_.record_count + 8.0);
  const auto body = [&](int chunk) {
    std::unique_ptr<Workspace> workspace = workspaces_.take();
    for (long i = chunks.first(chunk); i < chunks.first(chunk + 1); ++i) {
      const Block block = chunks.block(i);
      const LaneKernel<T>& kernel = lane_kernel<T>(block.choice);
      const LinkedPoints& linked = linked_for<T>(block.choice);
      const std::size_t slots = block_slots(kernel.lanes, linked.fixed_count, linked.record_count, 1);
      void* memory = workspace->reserve(slots * sizeof(T) * static_cast<std::size_t>(kernel.lanes));
      kernel.points(job, linked, block.first, block.count, memory);
    }
    workspaces_.give(std::move(workspace));
  };
  return for_each_chunk(chunks, work, threads, interrupted, body);
}

template bool Sweeper::run(const SweepJob<double>&, long, int, Interrupted);
template bool Sweeper::run(const SweepJob<float>&, long, int, Interrupted);
template bool PointEvaluator::run(const PointJob<double>&, long, int, Interrupted);
template bool PointEvaluator::run(const PointJob<float>&, long, int, Interrupted);

}  // namespace pontryagin
