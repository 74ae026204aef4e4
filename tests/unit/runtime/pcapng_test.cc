// pcapng blocks, byte by byte.
#include "runtime/pcapng.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "pkt/pool.h"

namespace millrace::runtime {
namespace {

class Pcapng : public testing::Test {
 protected:
  pkt::Packet* frame(std::string_view text) {
    pkt::Packet* p = cache_.frame();
    std::memcpy(p->append(static_cast<uint16_t>(text.size())), text.data(), text.size());
    return p;
  }
  static uint32_t word(const std::string& bytes, size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }

  pkt::HeapPacketPool frames_{64};
  pkt::HeapPacketPool references_{64, 0};
  pkt::PacketCache cache_{frames_, references_};
};

TEST_F(Pcapng, SectionHeader) {
  std::string out;
  append_section(out, "abcde");
  EXPECT_EQ(out.size(), 28u + 12 + 4);
  EXPECT_EQ(word(out, 0), 0x0a0d0d0au);
  EXPECT_EQ(word(out, 4), out.size());
  EXPECT_EQ(word(out, 8), 0x1a2b3c4du);
  EXPECT_EQ(word(out, 12), 1u);                                  // version 1.0
  EXPECT_EQ(out.substr(16, 8), std::string(8, '\xff'));          // length not known
  EXPECT_EQ(out.substr(24, 12), std::string("\4\0\5\0abcde\0\0\0", 12));
  EXPECT_EQ(word(out, out.size() - 4), out.size());
}

TEST_F(Pcapng, InterfaceHasItsNameAndNanoseconds) {
  std::string out;
  append_interface(out, "mr0", 65'600);
  EXPECT_EQ(word(out, 0), 1u);
  EXPECT_EQ(word(out, 8), 1u);  // Ethernet
  EXPECT_EQ(word(out, 12), 65'600u);
  EXPECT_EQ(out.substr(16, 8), std::string("\2\0\3\0mr0\0", 8));
  EXPECT_EQ(out.substr(24, 8), std::string("\11\0\1\0\11\0\0\0", 8));
  EXPECT_EQ(word(out, 4), out.size());
}

TEST_F(Pcapng, FrameOfSeveralSegmentsIsCutAtTheSnapLength) {
  pkt::Packet* head = frame("abcdef");
  pkt::chain(*head, frame("ghijk"));
  std::string out;
  append_frame(out, 3, FrameDirection::kOut, 0x0102030405060708, *head, 9);
  EXPECT_EQ(word(out, 0), 6u);
  EXPECT_EQ(word(out, 8), 3u);
  EXPECT_EQ(word(out, 12), 0x01020304u);
  EXPECT_EQ(word(out, 16), 0x05060708u);
  EXPECT_EQ(word(out, 20), 9u);
  EXPECT_EQ(word(out, 24), 11u);
  EXPECT_EQ(out.substr(28, 12), std::string("abcdefghi\0\0\0", 12));
  EXPECT_EQ(out.substr(40, 8), std::string("\2\0\4\0\2\0\0\0", 8));
  EXPECT_EQ(word(out, 4), out.size());
  EXPECT_EQ(out.size() % 4, 0u);
  cache_.free(head);
}

TEST_F(Pcapng, CaptureWritesItsFileAtTheEnd) {
  const auto path = std::filesystem::temp_directory_path() / ("millrace-capture-" + std::to_string(getpid()));
  {
    auto capture = Capture::open(path, 1000);
    ASSERT_TRUE(capture);
    EXPECT_EQ(capture->add_interface("a"), 0u);
    EXPECT_EQ(capture->add_interface("b"), 1u);
    pkt::Packet* p = frame("hello");
    capture->add_frame(1, FrameDirection::kIn, 1, *p);
    cache_.free(p);
  }
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find("hello"), std::string::npos);
  std::filesystem::remove(path);
}

TEST_F(Pcapng, AFolderThatIsNotThereIsNamed) {
  auto capture = Capture::open("/nonexistent/x.pcapng", 1000);
  ASSERT_FALSE(capture);
  EXPECT_EQ(capture.error().to_string(),
            "cannot write the capture file /nonexistent/x.pcapng: No such file or directory\n"
            "  hint: choose another with --capture FILE");
}

}  // namespace
}  // namespace millrace::runtime
