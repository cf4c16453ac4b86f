#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>

#include "base/error.h"
#include "io/bytes.h"
#include "io/snet.h"
#include "io/write.h"

namespace sn {

namespace {

[[noreturn]] void io_error(const char* verb, const std::string& path, int error) {
  fail(ErrorCode::Io, "cannot ", verb, " '", path, "': ", std::generic_category().message(error));
}

class File {
 public:
  File(const std::string& path, int flags, int mode = 0)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }
  // Closing reports write errors that the system had put off.
  bool close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

void check_path(const std::string& path) {
  if (path.empty()) fail(ErrorCode::InvalidArgument, "an empty path");
  if (path.find('\0') != std::string::npos) fail(ErrorCode::InvalidArgument, "a path with a NUL in it");
}

// A new file beside `path`, removed again unless keep() is called.
class Temporary {
 public:
  explicit Temporary(const std::string& path) {
    static std::atomic<unsigned> counter{0};
    do {
      name_ = path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(counter++);
      file_ = std::make_unique<File>(name_, O_WRONLY | O_CREAT | O_EXCL, 0666);
    } while (file_->get() < 0 && errno == EEXIST);
    if (file_->get() < 0) io_error("create", name_, errno);
  }
  ~Temporary() {
    if (!kept_) ::unlink(name_.c_str());
  }
  void write(const char* data, std::size_t n) {
    while (n > 0) {
      const ssize_t written = ::write(file_->get(), data, n);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) io_error("write", name_, errno);
      data += written, n -= static_cast<std::size_t>(written);
    }
  }
  void rename_to(const std::string& path) {
    if (::fsync(file_->get()) != 0) io_error("sync", name_, errno);
    if (!file_->close()) io_error("close", name_, errno);
    if (::rename(name_.c_str(), path.c_str()) != 0) io_error("replace", path, errno);
    kept_ = true;
  }

 private:
  std::string name_;
  std::unique_ptr<File> file_;
  bool kept_ = false;
};

}  // namespace

void save_snet(const Graph& graph, const std::string& path, bool fp16) {
  check_path(path);
  struct stat old{};
  // Renaming over a device or a directory's name would replace it, or fail with a reason that puzzles.
  if (::stat(path.c_str(), &old) == 0 && !S_ISREG(old.st_mode)) {
    fail(ErrorCode::Io, "cannot write '", path, "': it is not a regular file");
  }
  std::unique_ptr<Temporary> file;
  write_snet(graph, fp16, [&](const char* data, std::size_t n) {
    if (!file) file = std::make_unique<Temporary>(path);
    file->write(data, n);
  });
  file->rename_to(path);
  const std::size_t slash = path.rfind('/');
  const File directory(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
  // Makes the rename last through a power cut. Some file systems cannot; the file itself is whole either way.
  if (directory.get() >= 0) ::fsync(directory.get());
}

Graph load_snet(const std::string& path, const Limits& limits, std::string* digest) {
  check_path(path);
  // Without O_NONBLOCK, opening a FIFO would wait for its writer before we could see what it is.
  const File file(path, O_RDONLY | O_NONBLOCK);
  if (file.get() < 0) io_error("open", path, errno);
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) io_error("examine", path, errno);
  if (!S_ISREG(info.st_mode)) fail(ErrorCode::Io, "cannot read '", path, "': it is not a regular file");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > limits.bytes) {
    fail(ErrorCode::FileFormat, path, ": the file has ", size, " bytes, more than the limit of ", limits.bytes);
  }
  // Read, not mapped: a mapping could change between a check and the use of what was checked.
  const auto bytes = std::make_shared<FileBytes>(size);
  std::size_t got = 0;
  while (got < size) {
    const ssize_t n = ::read(file.get(), bytes->data() + got, size - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) io_error("read", path, errno);
    if (n == 0) fail(ErrorCode::Io, "cannot read '", path, "': it shrank while being read");
    got += static_cast<std::size_t>(n);
  }
  try {
    return parse_snet(bytes, size, limits, digest);
  } catch (const Error& e) {
    fail(e.code(), path, ": ", e.what());
  }
}

}  // namespace sn
