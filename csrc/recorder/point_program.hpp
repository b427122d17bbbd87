// A function of a point as a program: arguments and results are rows of one record.
#pragma once

#include "recorder/assembler.hpp"
#include "recorder/graph_model.hpp"

namespace pontryagin {

struct PointProgram {
  Program program;
  std::vector<double> constants;  // first in the fixed bank; temporaries follow
  int fixed_count = 0;
};

// An input of `code` has its row in b. Results go to rows from `first_result` on; there are `rows` of them in all. Throws
// std::invalid_argument for code that is not valid.
PointProgram make_point_program(const Code& code, int first_result, int rows);

}  // namespace pontryagin
