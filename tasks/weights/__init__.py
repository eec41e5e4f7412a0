"""θ_expo = θ_aligned + α · (θ_aligned − θ_sft), shard by shard, in bounded memory."""
