// Memory of blocks, kept between calls, so that a sweep allocates nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

namespace pontryagin {

// Aligned for vectors; grows, never shrinks.
class Workspace {
 public:
  void* reserve(std::size_t bytes);

 private:
  struct Free {
    void operator()(void* pointer) const;
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t bytes_ = 0;
};

// A few idle workspaces. Threads take and give without locks; what finds no place is freed.
class WorkspacePool {
 public:
  WorkspacePool() = default;
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;
  std::unique_ptr<Workspace> take();
  void give(std::unique_ptr<Workspace> workspace);

 private:
  static constexpr int places = 32;
  std::atomic<Workspace*> idle_[places] = {};
};

// What a batch takes: memory of its blocks, and of the sums of its chunks. Kept apart, because the two differ in size, and
// a small workspace taken for a large one would grow in a later call.
struct BatchWorkspaces {
  WorkspacePool blocks, sums;
};

}  // namespace pontryagin
