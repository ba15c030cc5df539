"""Training of vision-language-action models: pretraining and fine-tuning by imitation."""
