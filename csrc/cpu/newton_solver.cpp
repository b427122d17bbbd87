#include "cpu/newton_solver.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>

#include "cpu/link.hpp"
#include "cpu/pool.hpp"

namespace pontryagin {

#define PMP_DECLARE(isa) NewtonKernelSet newton_kernel_set_##isa();
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

NewtonKernelSet choose() {
  const char* const name = kernel_set().name;
  (void)name;
#ifdef PMP_HAVE_V4
  if (std::strcmp(name, "x86-64-v4") == 0) return newton_kernel_set_v4();
#endif
#ifdef PMP_HAVE_V3
  if (std::strcmp(name, "x86-64-v3") == 0) return newton_kernel_set_v3();
#endif
#ifdef PMP_HAVE_V2
  return newton_kernel_set_v2();
#else
  return newton_kernel_set_generic();
#endif
}

constexpr std::chrono::milliseconds poll_interval{50};

}  // namespace

const NewtonKernelSet& newton_kernel_set() {
  static const NewtonKernelSet set = choose();
  return set;
}

// -- functions ---------------------------------------------------------------------------------------------------------

NewtonFunctions::NewtonFunctions(const std::vector<Code>& codes, const std::vector<int>& results, int rows)
    : rows_(rows) {
  const LaneKernel<double>& kernel = kernel_set().f64[1];
  if (kernel.lanes != newton_lanes) throw std::logic_error("newton: no machine of this width");
  for (int i = 0; i < point::count; ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    if (codes[at].outputs.empty()) continue;
    const PointProgram made = make_point_program(codes[at], results[at], rows);
    Interpreted& own = interpreted_[i];
    own.constants = made.constants, own.run = kernel.run;
    own.code = link(made.program, {kernel.handlers, kernel.lanes, static_cast<int>(sizeof(double)), made.fixed_count,
                                   rows, 0, static_cast<int>(made.constants.size())});
    functions_.self[i] = &own;
    functions_.fixed_bytes[i] =
        static_cast<long>(std::max(1, made.fixed_count)) * kernel.lanes * static_cast<long>(sizeof(double));
    functions_.prepare[i] = [](const void* self, void* fixed) {
      const Interpreted& one = *static_cast<const Interpreted*>(self);
      double* to = static_cast<double*>(fixed);
      for (double value : one.constants) to = std::fill_n(to, newton_lanes, value);
    };
    functions_.call[i] = [](const void* self, double* row, void* fixed) {
      const Interpreted& one = *static_cast<const Interpreted*>(self);
      one.run(one.code.data(), fixed, row);
    };
  }
}

NewtonFunctions::NewtonFunctions(const NewtonTable* table) {
  if (table == nullptr) throw std::invalid_argument("native library: no table");
  if (table->border != newton_border)
    throw std::invalid_argument("native library: version " + std::to_string(table->border) +
                                " of the border, expected " + std::to_string(newton_border));
  rows_ = table->rows;
  functions_.step_values = table->step_values, functions_.step_derivatives = table->step_derivatives;
  functions_.two_step_values = table->two_step_values;
  functions_.riccati_pull = table->riccati_pull, functions_.riccati_move = table->riccati_move;
  functions_.riccati_left = table->riccati_left;
  functions_.riccati_back = table->riccati_back, functions_.riccati_end = table->riccati_end;
  const auto call = [](const void* self, double* rows, void*) { static_cast<const Compiled*>(self)->call(rows); };
  for (int i = 0; i < point::count; ++i) {
    if (table->call[i] == nullptr) continue;
    compiled_[i].call = table->call[i];
    functions_.call[i] = call, functions_.self[i] = &compiled_[i];
  }
}

// -- a batch -------------------------------------------------------------------------------------------------------------

NewtonRun::NewtonRun(const NewtonProblem& problem, const NewtonFunctions& functions, const NewtonSettings& settings,
                     const NewtonBatch& batch)
    : problem_(problem),
      settings_(settings),
      batch_(batch),
      kernel_(batch.batch == 1 ? newton_kernel_set().one : newton_kernel_set().many),
      functions_(functions.functions()),
      workspaces_(functions.workspaces()) {}

NewtonRun::~NewtonRun() {
  for (Tile& one : tiles_) workspaces_.give(std::move(one.memory));
}

NewtonRun::Tile NewtonRun::make(NewtonRow* history) {
  const NewtonWork work{&problem_, &functions_, &settings_, &batch_, history};
  Tile made;
  made.memory = workspaces_.take();
  made.tile = kernel_.make(work, made.memory->reserve(static_cast<std::size_t>(kernel_.bytes(work))));
  return made;
}

void NewtonRun::merge(const std::vector<NewtonRow>& part) {
  for (std::size_t i = 0; i < part.size(); ++i) {
    NewtonRow& row = history_[i];
    const NewtonRow& more = part[i];
    if (more.running == 0) continue;
    row.running += more.running, row.objective += more.objective;
    row.dual = std::max(row.dual, more.dual), row.primal = std::max(row.primal, more.primal);
    row.complementarity = std::max(row.complementarity, more.complementarity);
    row.barrier = std::max(row.barrier, more.barrier);
    row.regularisation = std::max(row.regularisation, more.regularisation), row.step = std::min(row.step, more.step);
  }
}

bool NewtonRun::run(int threads, Interrupted interrupted) {
  const long blocks = (batch_.batch + kernel_.lanes - 1) / kernel_.lanes;
  const int workers = static_cast<int>(std::max(1L, std::min<long>(threads, blocks)));
  const int share = static_cast<int>(std::min<long>(kernel_.lanes, (batch_.batch + workers - 1) / workers));
  std::atomic<long> next{0};
  std::atomic<int> number{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex mutex;
  const std::size_t rows = static_cast<std::size_t>(settings_.max_iterations);
  std::vector<std::vector<NewtonRow>> histories(static_cast<std::size_t>(workers));
  const auto loop = [&](bool calling_thread) {
    try {
      std::vector<NewtonRow>& history = histories[static_cast<std::size_t>(number++)];
      history.resize(rows);
      Tile own = make(history.data());
      auto polled = std::chrono::steady_clock::now();
      while (!stop) {
        int active = kernel_.active(own.tile);
        for (long problem; active < share && (problem = next++) < batch_.batch; ++active)
          kernel_.add(own.tile, problem);
        if (active == 0) break;
        kernel_.iterate(own.tile);
        if (!calling_thread || interrupted == nullptr) continue;
        const auto now = std::chrono::steady_clock::now();
        if (now - polled < poll_interval) continue;
        polled = now;
        if (interrupted()) stop = true;
      }
      if (stop) kernel_.give_up(own.tile);
      workspaces_.give(std::move(own.memory));
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };
  const auto on_worker = [&loop] { loop(false); };
  const auto on_caller = [&loop] { loop(true); };
  run_with_others(workers - 1, Task(on_worker), Task(on_caller));
  if (failure) std::rethrow_exception(failure);
  history_ = std::move(histories[0]);
  for (std::size_t i = 1; i < histories.size(); ++i) merge(histories[i]);
  return !stop;
}

bool NewtonRun::pass() {
  if (tiles_.empty()) {
    history_.resize(static_cast<std::size_t>(settings_.max_iterations));
    for (long next = 0; next < batch_.batch;) {
      tiles_.push_back(make(history_.data()));
      for (int l = 0; l < kernel_.lanes && next < batch_.batch; ++l) kernel_.add(tiles_.back().tile, next++);
    }
  }
  bool runs = false;
  for (Tile& one : tiles_) {
    if (kernel_.active(one.tile) == 0) continue;
    kernel_.iterate(one.tile);
    runs = runs || kernel_.active(one.tile) > 0;
  }
  return runs;
}

void NewtonRun::give_up() {
  for (Tile& one : tiles_) kernel_.give_up(one.tile);
}

int NewtonRun::told() const {
  int rows = 1 << 30;
  for (const Tile& one : tiles_) rows = std::min(rows, kernel_.told(one.tile));
  const auto written = [](const NewtonRow& row) { return row.running == 0; };
  const long all = std::find_if(history_.begin(), history_.end(), written) - history_.begin();
  return std::max(0, static_cast<int>(std::min<long>(rows, all)));
}

template <class Body>
void NewtonRun::each_tile(int threads, Body body) {
  const Chunks chunks(batch_.batch, {kernel_.lanes, kernel_.lanes, kernel_.lanes});
  const double work = static_cast<double>(batch_.batch) * problem_.steps * problem_.nz * problem_.nz * 4.0;
  for_each_chunk(chunks, work, threads, nullptr, [&](int chunk) {
    Tile own = make(nullptr);
    for (long i = chunks.first(chunk); i < chunks.first(chunk + 1); ++i) {
      const Block block = chunks.block(i);
      for (int l = 0; l < block.count; ++l) kernel_.add(own.tile, block.first + l);
      body(own.tile, block);
      kernel_.clear(own.tile);
    }
    workspaces_.give(std::move(own.memory));
  });
}

void NewtonRun::choose_start(double favour, int threads) {
  each_tile(threads, [&](void* tile, const Block&) { kernel_.choose_start(tile, favour); });
}

void NewtonRun::sweep(const SweepOfSteps& results, bool slopes, int threads) {
  each_tile(threads,
            [&](void* tile, const Block& block) { kernel_.sweep(tile, results, block.first, block.count, slopes); });
}

}  // namespace pontryagin
