// What check() of a view returns: the view, or nothing. It is used like std::optional but is no larger than the view:
// a view without a pointer stands for nothing. (An optional of a pointer is copied through memory in one piece after
// being written in two, and that stall cost more than reading the whole header.)
#pragma once

#include <optional>

#include "base/assert.h"

namespace millrace::wire {

template <class View>
class [[nodiscard]] Checked {
 public:
  constexpr Checked() = default;
  constexpr Checked(std::nullopt_t) {}                  // NOLINT(google-explicit-constructor): as std::optional
  constexpr Checked(const View& view) : view_(view) {}  // NOLINT(google-explicit-constructor): as std::optional

  [[nodiscard]] constexpr bool has_value() const { return !view_.is_null(); }
  constexpr explicit operator bool() const { return has_value(); }
  /// Only if has_value(); asserted, which costs nothing where the caller has looked.
  constexpr const View& operator*() const {
    MR_ASSERT(has_value());
    return view_;
  }
  constexpr const View* operator->() const { return &**this; }

 private:
  View view_;
};

}  // namespace millrace::wire
