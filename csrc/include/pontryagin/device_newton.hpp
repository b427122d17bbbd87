// Newton's method on a GPU, a thread a problem: a few iterations of each in one launch. Between launches everything stays in
// memory; the host reads which ones still run, and starts others in their places.
//
// The text of a problem (pontryagin/codegen/cuda_newton.py) sets PMP_THREAD_TILES and has the functions of its points.
#pragma once

#include "newton_tile.hpp"

namespace pontryagin {

enum class NewtonVerb : int {
  measure,       // how much memory a thread wants
  choose_start,  // newton_tile.hpp
  iterate,
  give_up
};

// The argument of a kernel (NewtonJob in pontryagin/backend/cuda_newton_job.py). A place is the memory of one problem.
struct NewtonJob {
  NewtonProblem problem;
  NewtonSettings settings;
  NewtonBatch batch;
  NewtonVerb verb = NewtonVerb::measure;
  int iterations = 0;                // of one launch, at the most
  double favour = 0;                 // of choose_start
  long long threads = 0;             // T
  const long long* place = nullptr;  // [T] of each thread
  long long* starts = nullptr;       // [places] the problem that a place takes up, or -1 where it goes on
  long long group_rows = 0, own_bytes = 0;
  double* rows = nullptr;  // [ceil(places/32)][group_rows][32]
  char* own = nullptr;     // [places][own_bytes]
  // results
  long long* sizes = nullptr;    // [2] group_rows and own_bytes, of measure
  long long* told = nullptr;     // [places] rows of the history that the problem has written; -1 where none runs
  NewtonRow* history = nullptr;  // [T][iterations] the rows from told on, as it was before the launch
};

inline namespace PMP_ISA {

// What a thread does.
inline void newton_thread(const NewtonJob& job, long long thread) {
  const PointFunctions functions;  // call_point has them
  using Tile = NewtonTile<1>;
  if (job.verb == NewtonVerb::measure) {
    if (thread > 0) return;
    Arena counted(nullptr, nullptr);
    const Tile tile(job.problem, functions, job.settings, job.batch, nullptr, counted);
    job.sizes[0] = counted.used_rows(), job.sizes[1] = counted.used();
    return;
  }
  if (thread >= job.threads) return;  // the rest of the last block
  const long long place = job.place[thread], group = place / group_threads;
  Arena arena(job.rows + group * job.group_rows * group_threads + place % group_threads,
              job.own + place * job.own_bytes);
  const long long first = job.told[place] > 0 ? job.told[place] : 0;
  NewtonRow* const history = job.history == nullptr ? nullptr : job.history + thread * job.iterations;
  Tile tile(job.problem, functions, job.settings, job.batch, history == nullptr ? nullptr : history - first, arena);
  if (job.starts[place] >= 0) {
    tile.prepare();
    tile.add(static_cast<long>(job.starts[place]));
    job.starts[place] = -1;
  }
  switch (job.verb) {
    case NewtonVerb::choose_start:
      tile.choose_start(job.favour);
      tile.clear();
      break;
    case NewtonVerb::iterate:
      for (int i = 0; i < job.iterations; ++i) history[i] = NewtonRow();
      for (int i = 0; i < job.iterations && tile.active() > 0; ++i) tile.iterate();
      break;
    default: tile.find_values(); tile.give_up();
  }
  job.told[place] = tile.active() > 0 ? (tile.told() > 0 ? tile.told() : 0) : -1;
}

}  // namespace PMP_ISA
}  // namespace pontryagin
