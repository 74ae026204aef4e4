// What check() of a view returns: the view, or nothing. It is used like std::optional but is no larger than the view:
// a view without a pointer stands for nothing. (An optional of a pointer is copied through memory in one piece after
// being written in two, and that stall cost more than reading the whole header.)
#pragma once

#include <optional>

namespace millrace::wire {

template <class View>
class [[nodiscard]] Checked {
 public:
  constexpr Checked() = default;
  constexpr Checked(std::nullopt_t) {}                  // NOLINT(google-explicit-constructor): as std::optional
  constexpr Checked(const View& view) : view_(view) {}  // NOLINT(google-explicit-constructor): as std::optional

  [[nodiscard]] constexpr bool has_value() const { return !view_.is_null(); }
  constexpr explicit operator bool() const { return has_value(); }
  /// Only if has_value().
  constexpr const View& operator*() const { return view_; }
  constexpr const View* operator->() const { return &view_; }

 private:
  View view_;
};

}  // namespace millrace::wire
