// Where each activation of a plan lives: a caller's buffer, or an offset in the arena.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan/stages.h"
#include "plan/step.h"

namespace sn {

// The arena holds what is kept from one stage for another, of all images of a group, and then what lives for a turn of
// a stage, of the images that it runs at a time; n of them at n times the offset for one.
struct Place {
  enum Kind { none, input, output, kept, turn } kind = none;
  std::size_t index = 0;    // which input or output
  std::size_t offset = 0;   // bytes, for one image
  std::int64_t floats = 0;  // of an image
};

// Some images of a batch in the steps of a stage.
struct Turn {
  std::size_t begin, end;                      // steps
  std::int64_t first, images;                  // of the batch
  std::int64_t group_first, group_size, room;  // where they lie: room is the images of a full turn
};

struct MemoryPlan {
  std::vector<Place> place;  // by value
  std::vector<Stage> stages;
  std::size_t kept_bytes = 0;           // of an image, as all that follow
  std::vector<std::size_t> turn_bytes;  // by stage
  struct Copy {
    ValueId from;
    std::size_t output;
  };
  std::vector<Copy> copies;  // outputs that share their memory with an input or another output

  std::int64_t group(std::int64_t batch) const;  // images that have run in a stage before the next one begins
  std::size_t arena_bytes(std::int64_t batch) const;
  std::size_t arena_offset(ValueId v, const Turn& turn) const;  // of the turn's first image

  // Calls f(turn) for all that a batch takes, in order.
  template <class F>
  void for_each_turn(std::int64_t batch, F f) const {
    const std::int64_t size = group(batch);
    for (std::int64_t begun = 0; begun < batch; begun += size) {
      const std::int64_t behind = std::min(begun + size, batch);
      std::size_t step = 0;
      for (const Stage& stage : stages) {
        const std::int64_t room = std::min(stage.images, size);
        for (std::int64_t first = begun; first < behind; first += room) {
          f(Turn{step, stage.end, first, std::min(room, behind - first), begun, size, room});
        }
        step = stage.end;
      }
    }
  }
};

// By value, the one whose memory it is: itself, but for Reshape and Identity, which move no data.
std::vector<ValueId> find_aliases(const Graph& graph);

// `stages`: of steps. `alias`: find_aliases'. Lifetimes come from the order of the steps.
MemoryPlan plan_memory(const Graph& graph, const std::vector<Step>& steps, const std::vector<ValueId>& alias,
                       std::vector<Stage> stages);

}  // namespace sn
