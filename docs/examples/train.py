"""Trains nothing: a random policy that only takes allowed actions. Needs the extra `vte`."""

from pathlib import Path

from streams.vte import TwinEnv

SCENARIO = Path(__file__).with_name("scenario.yaml")


def main() -> None:
    env = TwinEnv(SCENARIO, max_steps=200)
    env.action_space.seed(1)
    for episode in range(3):
        observation, info = env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            action = env.action_space.sample(mask=info["action_mask"])
            observation, reward, terminated, truncated, info = env.step(action)
            total, over = total + reward, terminated or truncated
        waiting, running = observation["queue"]
        print(f"episode {episode}: reward {total:.1f}, {waiting:.0f} jobs wait, {running:.0f} run")
    print(f"hash of the last world: {env.hash()}")


main()
