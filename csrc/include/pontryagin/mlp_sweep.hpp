// The state equation x' = f(t, x, w(t)) of a multilayer perceptron forward, and its costate equation back, over a block
// of samples. They share the weights, so that the derivative in the weights is summed over them.
//
// One step with stages i = 1..s, and its transpose (no division by b_i, which may vanish):
//
//     X_i = x + h sum_{j<i} a_ij f_j            m_i = h b_i p + h sum_{j>i} a_ji g_j + omega h b_i r f_i
//     x  <- x + h sum_i b_i f_i                 g_i = f_x' m_i + omega h b_i q X_i,     dJ/dw += f_w' m_i
//     cost += h sum_i b_i L(X_i, f_i)           p  <- p + sum_i g_i
//
// A block is run by one thread of a processor, a lane a sample (mlp_rows.hpp), or by the threads of a block of a GPU
// (mlp_block_rows.hpp); Rows says how either goes over rows of W numbers, and where its threads have to meet.
//
// Field concept: Rows, rows, record_of(job), scratch_size(job), stage(record), velocity(kept, own),
// forward(stage, t, row, velocity, record or null), recall(record), backward(stage, t, row, m, g), end(). Threads of a
// block meet at the beginning of each step, and at the beginning and the end of `forward` and `backward`.
//
// Records of stages are kept on a tape for as many steps as stay near the processor, or as the square root of their
// number where that is more; longer horizons make them again, segment by segment (sweep.hpp).
#pragma once

#include "mlp_job.hpp"
#include "sweep.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Making a record again costs more than writing and reading it even from the third-level cache.
constexpr long mlp_tape_bytes = 4L << 20;

template <class Field>
class MlpSweep {
 public:
  using Rows = typename Field::Rows;
  using T = typename Rows::T;
  static constexpr int W = Rows::width;

  static long workspace_bytes(const MlpJob<T>& job, bool own_tape) {
    return Places(job, own_tape).count * static_cast<long>(sizeof(T));
  }

  static void run(const MlpJob<T>& job, const MlpPart<T>& part) { run(job, part, Rows()); }
  static PMP_DEVICE_INLINE void run(const MlpJob<T>& job, const MlpPart<T>& part, Rows rows) {
    MlpSweep block(job, part, rows);
    sweep(block, job.steps, block.segment_, job.backward);
    if (job.backward) block.end();
  }

  // ---- the executor ------------------------------------------------------------------------------------------------

  PMP_DEVICE_INLINE void start() {
    field_.rows.gather(job_.initial_state + part_.first * dim_, dim_, part_.count, x_);
    field_.rows.clear(cost_, 1);
    if (starts_) field_.rows.copy(starts_, x_, dim_);
  }

  PMP_DEVICE_INLINE void forward(int first, int end, bool keep) {
    if (job_.replay) return;  // the tape holds all steps: there is one segment
    keep = keep || (part_.tape && segment_ >= job_.steps);
    PMP_DEVICE_ROLLED
    for (int n = first; n < end; ++n) {
      const int at = keep ? n - first : 0;
      const Step step(field_.rows, job_, n);
      PMP_DEVICE_ROLLED
      for (int i = 0; i < stages_; ++i) {
        T* const stage = field_.stage(record(at, i));
        T* const f = velocity(at, i);
        Terms terms(field_.rows, x_, dim_);
        PMP_DEVICE_ROLLED
        for (int j = 0; j < i; ++j) terms.add(step.a(i, j), velocity(at, j));
        terms.store(stage);
        field_.forward(stage, step.time(i), row(n, i), f, keep ? record(at, i) : nullptr);
        add_cost(step.b(i), stage, f);
      }
      Terms terms(field_.rows, x_, dim_);
      PMP_DEVICE_ROLLED
      for (int i = 0; i < stages_; ++i) terms.add(step.b(i), velocity(at, i));
      terms.store(x_);
    }
    if (!keep && starts_) field_.rows.copy(starts_ + static_cast<long>(end / segment_) * dim_ * W, x_, dim_);
  }

  PMP_DEVICE_INLINE void finish() {
    const Rows& rows = field_.rows;
    const long from = part_.first * dim_;
    if (job_.final_state && !job_.replay) rows.scatter(x_, dim_, part_.count, job_.final_state + from);
    if (job_.cost && !job_.replay) rows.scatter(cost_, 1, part_.count, job_.cost + part_.first);
    if (!job_.backward) return;
    if (job_.target) {
      rows.gather_or_zero(job_.target + from, dim_, part_.count, p_);
      const double cost_scale = job_.running.any() ? job_.cost_scale : 0.0;
      const double value = rows.residuals(x_, p_, static_cast<T>(2.0 * job_.scale), dim_, part_.count,
                                          [&](int lane, double squares) PMP_INLINE_LAMBDA {
                                            const double cost = cost_scale == 0.0 ? 0.0 : double(cost_[lane]);
                                            return job_.scale * squares + cost_scale * cost;
                                          });
      if (rows.first()) *part_.value += value;
    } else {
      rows.gather_or_zero(job_.final_costate + from, dim_, part_.count, p_);
    }
    if (job_.cost_cotangent) rows.gather_or_zero(job_.cost_cotangent + part_.first, 1, part_.count, omega_);
    else rows.fill(static_cast<T>(job_.cost_scale), part_.count, omega_);
  }

  PMP_DEVICE_INLINE void resume(int first) {
    field_.rows.copy(x_, starts_ + static_cast<long>(first / segment_) * dim_ * W, dim_);
  }

  PMP_DEVICE_INLINE void backward(int first, int end) {
    PMP_DEVICE_ROLLED
    for (int n = end; n-- > first;) {
      const Step step(field_.rows, job_, n);
      PMP_DEVICE_ROLLED
      for (int i = stages_; i-- > 0;) {
        const T* const stage = field_.recall(record(n - first, i));
        const auto weight = step.b(i);
        Terms terms(field_.rows, nullptr, dim_);
        terms.add(weight, p_);
        PMP_DEVICE_ROLLED
        for (int j = i + 1; j < stages_; ++j) terms.add(step.a(j, i), g(j));
        terms.store(m_);
        if (velocity_cost_ != 0.0) {
          field_.rows.meet();
          field_.rows.add_product(weight * velocity_cost_, omega_, stage + record_.velocity_row * W, m_, dim_);
        }
        field_.backward(stage, step.time(i), row(n, i), m_, g(i));
        if (state_cost_ != 0.0) field_.rows.add_product(weight * state_cost_, omega_, stage, g(i), dim_);
      }
      Terms terms(field_.rows, p_, dim_);
      PMP_DEVICE_ROLLED
      for (int i = 0; i < stages_; ++i) terms.add(1, g(i));
      terms.store(p_);
    }
  }

  PMP_DEVICE_INLINE void end() {
    field_.end();
    if (job_.initial_gradient) field_.rows.scatter(p_, dim_, part_.count, job_.initial_gradient + part_.first * dim_);
  }

 private:
  using Step = typename Rows::Step;
  using Terms = typename Rows::Terms;

  // Where in the workspace everything lies, in numbers. Velocities serve the way forward, slopes g the way back: they
  // share their place.
  struct Places {
    long x, p, m, omega, cost, slopes, scratch, tape = -1, starts = -1, count = 0;
    int segment;
    PMP_DEVICE_INLINE Places(const MlpJob<T>& job, bool own_tape) {
      const MlpRecord record = Field::record_of(job);
      const int stages = job.tableau->stages;
      const long step = static_cast<long>(stages) * record.rows;
      segment = job.backward && own_tape ? segment_of(job.steps, step) : job.steps;
      x = take(record.dim), p = take(record.dim), m = take(record.dim), omega = take(1), cost = take(1);
      slopes = take(static_cast<long>(stages) * record.dim);
      scratch = count, count += (Field::scratch_size(job) + line - 1) / line * line;
      if (!own_tape) return;
      tape = take(step * (job.backward ? segment : 1));
      if (segment < job.steps) starts = take((job.steps / segment + 1L) * record.dim);
    }
    static constexpr long line = Rows::line / static_cast<long>(sizeof(T));
    PMP_DEVICE_INLINE long take(long rows) {
      const long at = count;
      count += (rows * W + line - 1) / line * line;
      return at;
    }
    static PMP_DEVICE_INLINE int segment_of(int steps, long step_rows) {
      const long near = mlp_tape_bytes / (static_cast<long>(sizeof(T)) * W * step_rows);
      long root = 1;
      while (root * root < steps) ++root;
      const long fit = near > root ? near : root;
      if (fit >= steps) return steps;
      const long segments = (steps + fit - 1) / fit;
      return static_cast<int>((steps + segments - 1) / segments);
    }
  };

  PMP_DEVICE_INLINE MlpSweep(const MlpJob<T>& job, const MlpPart<T>& part, const Places& places, Rows rows)
      : job_(job),
        part_(part),
        record_(Field::record_of(job)),
        workspace_(static_cast<T*>(part.workspace)),
        field_(job, part, workspace_ + places.scratch, rows) {
    stages_ = job.tableau->stages, dim_ = record_.dim;
    record_size_ = static_cast<long>(record_.rows) * W;
    state_cost_ = job.running.state, velocity_cost_ = job.running.velocity;
    x_ = at(places.x), p_ = at(places.p), m_ = at(places.m), omega_ = at(places.omega), cost_ = at(places.cost);
    slopes_ = at(places.slopes);
    const bool own = owns_tape(part);
    tape_ = own ? at(places.tape) : part.tape;
    starts_ = !own ? part.starts : places.starts < 0 ? nullptr : at(places.starts);
    segment_ = own || part.segment == 0 ? places.segment : part.segment;
  }
  PMP_DEVICE_INLINE MlpSweep(const MlpJob<T>& job, const MlpPart<T>& part, Rows rows)
      : MlpSweep(job, part, Places(job, owns_tape(part)), rows) {}
  static PMP_DEVICE_INLINE bool owns_tape(const MlpPart<T>& part) { return Rows::tape_at_hand && part.tape == nullptr; }

  PMP_DEVICE_INLINE T* at(long place) const { return workspace_ + place; }
  PMP_DEVICE_INLINE T* g(int i) const { return slopes_ + static_cast<long>(i) * dim_ * W; }
  PMP_DEVICE_INLINE T* record(int step, int i) const {
    return tape_ + (static_cast<long>(step) * stages_ + i) * record_size_;
  }
  PMP_DEVICE_INLINE T* velocity(int step, int i) const {
    T* const kept = record_.velocity_row < 0 ? nullptr : record(step, i) + static_cast<long>(record_.velocity_row) * W;
    return field_.velocity(kept, g(i));
  }
  PMP_DEVICE_INLINE int row(int n, int i) const { return job_.rows[static_cast<long>(n) * stages_ + i]; }

  template <class Number>
  PMP_DEVICE_INLINE void add_cost(Number weight, const T* state, const T* velocity) {
    if (state_cost_ != 0.0) field_.rows.add_squares(0.5 * weight * state_cost_, state, cost_, dim_);
    if (velocity_cost_ != 0.0) field_.rows.add_squares(0.5 * weight * velocity_cost_, velocity, cost_, dim_);
  }

  const MlpJob<T>& job_;
  const MlpPart<T>& part_;
  const MlpRecord record_;
  T* const workspace_;
  Field field_;
  int stages_, dim_, segment_;
  long record_size_;
  double state_cost_, velocity_cost_;
  T *x_, *p_, *m_, *omega_, *cost_, *slopes_, *tape_, *starts_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
