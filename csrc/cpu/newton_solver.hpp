// Newton's method over a batch: the functions of a problem, tiles of lanes, a queue of problems, threads.
#pragma once

#include <memory>
#include <vector>

#include "cpu/blocks.hpp"
#include "cpu/kernels.hpp"
#include "cpu/newton_kernels.hpp"
#include "cpu/workspace.hpp"
#include "pontryagin/newton_table.hpp"
#include "recorder/point_program.hpp"

namespace pontryagin {

// The functions of a problem, compiled or interpreted.
class NewtonFunctions {
 public:
  // Interpreted: those that are there, with the row where the results of each begin.
  NewtonFunctions(const std::vector<Code>& codes, const std::vector<int>& results, int rows);
  // Compiled: the library must stay open. Throws std::invalid_argument for a table of another version.
  explicit NewtonFunctions(const NewtonTable* table);
  NewtonFunctions(const NewtonFunctions&) = delete;
  NewtonFunctions& operator=(const NewtonFunctions&) = delete;

  int rows() const { return rows_; }
  const PointFunctions& functions() const { return functions_; }
  WorkspacePool& workspaces() const { return workspaces_; }

 private:
  struct Interpreted {
    std::vector<Linked> code;
    std::vector<double> constants;
    void (*run)(const Linked*, void*, void*) = nullptr;
  };
  struct Compiled {
    void (*call)(double*) = nullptr;
  };
  int rows_ = 0;
  Interpreted interpreted_[point::count];
  Compiled compiled_[point::count];
  PointFunctions functions_;
  mutable WorkspacePool workspaces_;
};

// A batch on its way. Without `lock_step`, `run` solves it on several threads, where a lane that is free takes the next
// problem; with it, `pass` makes one iteration of everything, in tiles enough for all.
class NewtonRun {
 public:
  NewtonRun(const NewtonProblem& problem, const NewtonFunctions& functions, const NewtonSettings& settings,
            const NewtonBatch& batch);
  ~NewtonRun();
  NewtonRun(const NewtonRun&) = delete;
  NewtonRun& operator=(const NewtonRun&) = delete;

  // False if it was interrupted; what still ran has been written as it stood.
  bool run(int threads, Interrupted interrupted);

  // False when nothing runs any more.
  bool pass();
  void give_up();
  // Rows of the history that are complete.
  int told() const;
  const std::vector<NewtonRow>& history() const { return history_; }

  void choose_start(double favour, int threads);
  void sweep(const SweepOfSteps& results, bool slopes, int threads);

 private:
  struct Tile {
    std::unique_ptr<Workspace> memory;
    void* tile = nullptr;
  };
  Tile make(NewtonRow* history);
  void merge(const std::vector<NewtonRow>& part);
  template <class Body>
  void each_tile(int threads, Body body);

  const NewtonProblem& problem_;
  const NewtonSettings& settings_;
  const NewtonBatch& batch_;
  const NewtonKernel& kernel_;
  const PointFunctions& functions_;
  WorkspacePool& workspaces_;
  std::vector<NewtonRow> history_;
  std::vector<Tile> tiles_;
};

}  // namespace pontryagin
