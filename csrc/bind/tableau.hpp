// A tableau from Python's lists.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "pontryagin/tableau.hpp"

namespace pontryagin {

inline Tableau tableau_of(const std::vector<std::vector<double>>& a, const std::vector<double>& b,
                          const std::vector<double>& c) {
  Tableau tableau;
  tableau.stages = static_cast<int>(b.size());
  if (b.empty() || b.size() > static_cast<std::size_t>(max_stages) || a.size() != b.size() || c.size() != b.size())
    throw pybind11::value_error("tableau: between 1 and " + std::to_string(max_stages) +
                                " stages, as many in a, b and c");
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (a[i].size() < i) throw pybind11::value_error("tableau: row " + std::to_string(i) + " of a is too short");
    for (std::size_t j = 0; j < i; ++j) tableau.a[i][j] = a[i][j];
    tableau.b[i] = b[i];
    tableau.c[i] = c[i];
  }
  return tableau;
}

}  // namespace pontryagin
