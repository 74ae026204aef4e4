// Every settings row at its boundaries, and the documentation made from the rows.
#include "conf/settings.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "conf/parse.h"

namespace millrace::conf {
namespace {

std::string document(const Setting& s, const std::string& value) {
  return "[" + std::string(s.section) + "]\n" + std::string(s.name) + " = " + value + "\n";
}

class EverySetting : public testing::TestWithParam<Setting> {};

TEST_P(EverySetting, TakesItsBoundsAndRefusesWhatIsBeyond) {
  const Setting& s = GetParam();
  for (int64_t value : {s.least, s.value, s.greatest}) {
    auto config = parse_toml(document(s, std::to_string(value)), "f");
    if (config) {
      EXPECT_EQ(s.field(*config, s), value);
    } else {
      // Only a contradiction with another key may refuse a value in range.
      EXPECT_NE(config.error().message.find("is above"), std::string::npos) << config.error().to_string();
    }
  }
  if (s.least > INT64_MIN) {
    EXPECT_FALSE(parse_toml(document(s, std::to_string(s.least - 1)), "f"));
  }
  if (s.greatest < INT64_MAX) {
    auto config = parse_toml(document(s, std::to_string(s.greatest + 1)), "f");
    ASSERT_FALSE(config);
    EXPECT_NE(config.error().message.find("expected a whole number from " + std::to_string(s.least) + " to " +
                                          std::to_string(s.greatest)),
              std::string::npos)
        << config.error().to_string();
    EXPECT_EQ(config.error().line, 2u);
    EXPECT_EQ(config.error().column, s.name.size() + 4);
  }
  for (const char* wrong : {"\"1\"", "1.5", "true", "[1]"}) EXPECT_FALSE(parse_toml(document(s, wrong), "f")) << wrong;
}

TEST_P(EverySetting, HasItsDefaultInRangeAndInTheStruct) {
  const Setting& s = GetParam();
  EXPECT_LE(s.least, s.value);
  EXPECT_LE(s.value, s.greatest);
  Config config;
  EXPECT_EQ(s.field(config, s), s.value);
  s.field(config, s) = s.value + 1;
  for (const Setting& other : settings()) {
    if (&other == find_setting(s.section, s.name)) continue;
    EXPECT_EQ(other.field(config, other), other.value) << other.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Conf, EverySetting, testing::ValuesIn(settings().begin(), settings().end()),
                         [](const testing::TestParamInfo<Setting>& row) {
                           return std::string(row.param.section) + "_" + std::string(row.param.name);
                         });

TEST(ConfSettings, NamesAreUnique) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const Setting& s : settings()) EXPECT_TRUE(seen.emplace(s.section, s.name).second) << s.name;
}

TEST(ConfSettings, DocumentationHoldsTheGeneratedReference) {
  std::ifstream file("docs/CONFIGURATION.md");  // CTest runs the test in the root of the tree
  ASSERT_TRUE(file) << "docs/CONFIGURATION.md";
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find(describe_settings()), std::string::npos)
      << "docs/CONFIGURATION.md is behind the rows. Its reference must read:\n"
      << describe_settings();
}

}  // namespace
}  // namespace millrace::conf
